/*
 * evict.c
 *		The two tiers of the cache and their bounds: segments of shared memory, and
 *		files of the store.
 *
 * Runs in sessions and workers.  Victims are chosen under the cache's lock and
 * released after it, because releasing them unlinks files.  A rowset that is being
 * read does not vanish: an unlinked file exists until it is closed, and a segment
 * until its last reader detaches.  Dropping a segment that is being read therefore
 * makes no room, and evictions leave it alone.  If it must be dropped for another
 * reason, it is a ghost, whose bytes count, until its last reader detaches.
 *
 * The bounds are GUCs.  A change takes effect at the next look-up of a session
 * that has reloaded the configuration.
 */
#include "postgres.h"

#include "base/report.h"
#include "cache/internal.h"
#include "store/store.h"

#include "miscadmin.h"
#include "storage/dsm_impl.h"
#include "utils/resowner.h"

#include <sys/statvfs.h>

/* How much of /dev/shm is left to parallel queries: 1 / SHM_SHARE of it, but at most SHM_ENOUGH bytes. */
#define SHM_SHARE 4
#define SHM_ENOUGH ((uint64) 64 * 1024 * 1024)

/* After how many reads from its file a rowset is put into memory again, if there is room. */
#define POPULAR 3

/* How long (µs) a segment is spared after an eviction has found that it is being read. */
#define READ_MEMORY USECS_PER_SEC

/* ------- segments ------- */

typedef struct SegmentTask
{
	dsm_handle handle;
	const void *bytes; /* what make_segment() copies into it */
	Size length;
} SegmentTask;

/*
 * Calls act, which does something with a segment.  Returns false if it raised an
 * error, as dsm_create() and dsm_attach() do when there is no room; the cache can
 * do without the segment, so the error is discarded.  There is no resource owner
 * during the call, lest the end of a transaction warn of a leaked segment.
 */
static bool
carried_out(void (*act)(SegmentTask *task), SegmentTask *task)
{
	volatile bool done = false;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	uint32 held = InterruptHoldoffCount; /* an error sets it to 0 */

	CurrentResourceOwner = NULL;
	PG_TRY();
	{
		act(task);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		InterruptHoldoffCount = held;
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	return done;
}

/* Makes a pinned segment with the bytes; the handle remains DSM_HANDLE_INVALID if there are too many segments. */
static void
make_segment(SegmentTask *task)
{
	dsm_segment *segment = dsm_create(task->length, DSM_CREATE_NULL_IF_MAXSEGMENTS);

	if (segment == NULL)
		return;
	memcpy(dsm_segment_address(segment), task->bytes, task->length);
	dsm_pin_segment(segment);
	task->handle = dsm_segment_handle(segment);
	dsm_detach(segment);
}

/* Sets the handle of an unpinned segment to DSM_HANDLE_INVALID if nobody reads it any more, so that it is gone. */
static void
look_for_segment(SegmentTask *task)
{
	dsm_segment *segment = dsm_find_mapping(task->handle);

	if (segment != NULL)
		return; /* this process reads it */
	segment = dsm_attach(task->handle);
	if (segment != NULL)
		dsm_detach(segment);
	else
		task->handle = DSM_HANDLE_INVALID;
}

/* Pins a segment again; if it does not exist any more, sets the handle to DSM_HANDLE_INVALID. */
static void
pin_again(SegmentTask *task)
{
	dsm_segment *mine = dsm_find_mapping(task->handle);
	dsm_segment *segment = mine != NULL ? mine : dsm_attach(task->handle);

	if (segment == NULL)
	{
		task->handle = DSM_HANDLE_INVALID;
		return;
	}
	dsm_pin_segment(segment);
	if (mine == NULL)
		dsm_detach(segment);
}

static bool
is_read(dsm_handle handle)
{
	SegmentTask task = {.handle = handle};

	return !carried_out(look_for_segment, &task) || task.handle != DSM_HANDLE_INVALID;
}

/* Releases a dropped segment.  If it is being read, it becomes a ghost. */
static void
release_segment(const ClariSegmentShared *segment)
{
	dsm_unpin_segment(segment->handle);
	if (!is_read(segment->handle))
		return;
	clari_cache_lock(LW_EXCLUSIVE);
	if (clari_control->nghosts < CLARI_MAX_SEGMENTS)
	{
		clari_control->ghosts[clari_control->nghosts++] = *segment;
		clari_control->ghost_bytes += segment->bytes;
	}
	clari_cache_unlock();
}

static void
uncount_ghost_locked(dsm_handle handle)
{
	for (int i = 0; i < clari_control->nghosts; i++)
		if (clari_control->ghosts[i].handle == handle)
		{
			clari_control->ghost_bytes -= clari_control->ghosts[i].bytes;
			clari_control->ghosts[i] = clari_control->ghosts[--clari_control->nghosts];
			return;
		}
}

/* Stops counting the ghosts that nobody reads any more. */
static void
uncount_ghosts(void)
{
	dsm_handle handles[CLARI_MAX_SEGMENTS];
	int count;

	clari_cache_lock(LW_SHARED);
	count = clari_control->nghosts;
	for (int i = 0; i < count; i++)
		handles[i] = clari_control->ghosts[i].handle;
	clari_cache_unlock();
	for (int i = 0; i < count; i++)
	{
		if (is_read(handles[i]))
			continue;
		clari_cache_lock(LW_EXCLUSIVE);
		uncount_ghost_locked(handles[i]);
		clari_cache_unlock();
	}
}

/* ------- releasing what was dropped ------- */

/* Subtracts bytes from those on disk.  Some may not be counted any more, because the directory was changed. */
static void
uncount_locked(uint64 bytes)
{
	clari_control->disk_bytes -= Min(bytes, clari_control->disk_bytes);
}

/* Removes the files that were dropped.  Returns how many could not be removed; *cause is the errno of the last. */
static int
remove_files(const ClariDropped *dropped, int *cause)
{
	int left = 0;

	for (int i = 0; i < dropped->nfiles; i++)
	{
		const ClariKey *key = &dropped->files[i].key;
		uint64 generation = dropped->files[i].generation;

		if (generation == 0 ? clari_store_remove_record(key, dropped->at) : clari_store_remove(key, generation))
			continue;
		*cause = errno;
		left++;
	}
	if (dropped->file_bytes > 0)
	{
		clari_cache_lock(LW_EXCLUSIVE);
		uncount_locked(dropped->file_bytes);
		clari_cache_unlock();
	}
	return left;
}

/* Logs what was dropped: files by name, but segments by size, since their names would not help anybody. */
static void
log_dropped(const ClariDropped *dropped)
{
	if (!message_level_is_interesting(DEBUG1))
		return;
	for (int i = 0; i < dropped->nfiles; i++)
	{
		ClariError error = {.code = CLARI_ERROR_NONE};

		if (dropped->files[i].generation != 0)
			clari_store_name_file(&dropped->files[i].key, dropped->files[i].generation, &error);
		ereport(DEBUG1,
				(errmsg_internal("rowset cache: let %s go", error.detail[0] != '\0' ? "a file" : "a job's record"),
				 error.detail[0] != '\0' ? errdetail_internal("%s", error.detail) : 0));
	}
	for (int i = 0; i < dropped->nsegments; i++)
		ereport(DEBUG1, (errmsg_internal("rowset cache: let a segment of " UINT64_FORMAT " bytes go",
										 (uint64) dropped->segments[i].bytes)));
}

int
clari_dropped_release(const ClariDropped *dropped)
{
	int cause = 0;
	int left;

	/* Do not let an interrupt raise an error here: what is not released now would stay until the server stops. */
	HOLD_INTERRUPTS();
	left = remove_files(dropped, &cause);
	for (int i = 0; i < dropped->nsegments; i++)
		release_segment(&dropped->segments[i]);
	RESUME_INTERRUPTS();
	if (left > 0)
		ereport(LOG, (errcode(ERRCODE_IO_ERROR),
					  errmsg_plural("could not remove %d file of the rowset cache: %s",
									"could not remove %d files of the rowset cache: %s", left, left, strerror(cause)),
					  errdetail("The directory is \"%s\".", clari_store_directory())));
	log_dropped(dropped);
	return left;
}

/* ------- choosing ------- */

/* ClariWeight */
static uint64
segment_bytes(const ClariSlotShared *slot)
{
	return slot->version.segment != DSM_HANDLE_INVALID ? slot->version.bytes : 0;
}

/* ClariWeight */
static uint64
file_bytes(const ClariSlotShared *slot)
{
	return slot->in_file ? slot->version.bytes : 0;
}

static bool
drop_a_segment_locked(ClariDropped *dropped)
{
	ClariSlotShared *victim = dropped->nsegments < CLARI_DROP_BATCH ? clari_slot_victim_locked(segment_bytes) : NULL;

	if (victim == NULL)
		return false;
	clari_slot_drop_segment_locked(victim, dropped);
	clari_control->stats.counts[CLARI_COUNT_MEMORY_EVICTIONS]++;
	return true;
}

static bool
drop_a_file_locked(ClariDropped *dropped)
{
	ClariSlotShared *victim = dropped->nfiles < CLARI_DROP_BATCH ? clari_slot_victim_locked(file_bytes) : NULL;

	if (victim == NULL)
		return false;
	clari_slot_drop_file_locked(victim, dropped);
	clari_control->stats.counts[CLARI_COUNT_DISK_EVICTIONS]++;
	return true;
}

/* ------- bounds ------- */

static Size
memory_limit(void)
{
	return (Size) clari_shared_cache_size * 1024;
}

static uint64
disk_limit(void)
{
	return (uint64) clari_disk_cache_size * 1024;
}

/* Does one more segment of this size fit into the shared cache? */
static bool
fits_in_memory_locked(Size bytes)
{
	return clari_control->segment_bytes + clari_control->ghost_bytes + bytes <= memory_limit() &&
		   clari_control->nsegments < CLARI_MAX_SEGMENTS;
}

/*
 * Drops files until so many more bytes fit on disk, assuming that what is in
 * *dropped has been removed.  False: they do not fit, and no more can be dropped.
 */
static bool
make_room_on_disk_locked(uint64 bytes, ClariDropped *dropped)
{
	while (clari_control->disk_bytes + bytes > disk_limit() + dropped->file_bytes)
		if (!drop_a_file_locked(dropped))
			return false;
	return true;
}

void
clari_evict_excess_locked(ClariDropped *dropped)
{
	while (clari_control->segment_bytes > memory_limit() && drop_a_segment_locked(dropped))
		;
	(void) make_room_on_disk_locked(0, dropped);
}

/* Returns how large one more segment may be so that enough of /dev/shm remains free. */
static uint64
shm_room(void)
{
	struct statvfs shm;
	uint64 total;
	uint64 room;

	if (dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &shm) != 0 || shm.f_blocks == 0)
		return PG_UINT64_MAX;
	total = (uint64) shm.f_blocks * shm.f_frsize;
	room = (uint64) shm.f_bavail * shm.f_frsize;
	return room - Min(room, Min(total / SHM_SHARE, SHM_ENOUGH));
}

static void
count_segment_locked(Size bytes)
{
	clari_control->segment_bytes += bytes;
	clari_control->nsegments++;
}

/* Counts one more segment of this size, if there is room for it. */
static bool
try_to_reserve(Size bytes)
{
	bool fits = bytes <= shm_room();

	clari_cache_lock(LW_EXCLUSIVE);
	fits = fits && fits_in_memory_locked(bytes);
	if (fits)
		count_segment_locked(bytes);
	clari_cache_unlock();
	return fits;
}

/* ClariWeight: the bytes of the segment, unless it was recently found to be read. */
static uint64
spare_bytes(const ClariSlotShared *slot)
{
	TimestampTz now = GetCurrentTimestamp();
	bool was_read = slot->read_at > now - READ_MEMORY && slot->read_at <= now;

	return was_read ? 0 : segment_bytes(slot);
}

/* ClariWeight: spare_bytes() if the rowset is in a file as well, so that it would not be lost. */
static uint64
spare_copy_bytes(const ClariSlotShared *slot)
{
	return slot->in_file ? spare_bytes(slot) : 0;
}

/* Finds the slot that has the version, but no segment of it; NULL: there is none, or it has been invalidated. */
static ClariSlotShared *
find_without_segment_locked(const ClariVersion *version)
{
	ClariSlotShared *slot = clari_slot_find_locked(&version->meta.key);

	if (slot == NULL || slot->version.segment != DSM_HANDLE_INVALID ||
		slot->version.meta.generation != version->meta.generation ||
		slot->version.meta.posted_at <= clari_slot_invalidated_at(slot))
		return NULL;
	return slot;
}

/* Gives a segment that is being read back to its slot; false: find_without_segment_locked() finds none. */
static bool
put_back(const ClariVersion *version)
{
	ClariSlotShared *slot;

	clari_cache_lock(LW_EXCLUSIVE);
	slot = find_without_segment_locked(version);
	if (slot != NULL)
	{
		slot->version.segment = version->segment;
		slot->read_at = GetCurrentTimestamp();
	}
	clari_cache_unlock();
	return slot != NULL;
}

static void
release_memory(Size bytes)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_control->segment_bytes -= bytes;
	clari_control->nsegments--;
	clari_cache_unlock();
}

/* Takes a segment from its slot, but keeps it counted.  False: no slot has a segment to try. */
static bool
take_a_segment(ClariVersion *version)
{
	ClariDropped dropped;
	ClariSlotShared *victim;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	victim = clari_slot_victim_locked(spare_copy_bytes);
	if (victim == NULL)
		victim = clari_slot_victim_locked(spare_bytes);
	if (victim != NULL)
	{
		*version = victim->version;
		clari_slot_drop_segment_locked(victim, &dropped);
		count_segment_locked(version->bytes);
	}
	clari_cache_unlock();
	return victim != NULL;
}

/* Logs what has become of the version. */
static void
log_version(const ClariVersion *version, const char *what)
{
	ereport(DEBUG1, (errmsg_internal("rowset cache: %s %s, " UINT64_FORMAT " bytes, %s",
									 clari_report_text(version->meta.forecast), version->meta.answered,
									 (uint64) version->bytes, what)));
}

/* Evicts one segment, or puts it back if it is being read; false: there is no segment to try. */
static bool
evict_a_segment(void)
{
	ClariVersion version;
	SegmentTask task = {0};
	bool gone = true;

	if (!take_a_segment(&version))
		return false;
	HOLD_INTERRUPTS(); /* no slot has the segment now, so an error would leak it */
	task.handle = version.segment;
	dsm_unpin_segment(version.segment);
	if (!carried_out(pin_again, &task) || task.handle == DSM_HANDLE_INVALID)
	{
		release_memory(version.bytes);
		clari_cache_count(CLARI_COUNT_MEMORY_EVICTIONS, 1);
	}
	else if (put_back(&version))
		gone = false;
	else
		clari_cache_discard_segment(version.segment, version.bytes);
	RESUME_INTERRUPTS();
	if (gone)
		log_version(&version, "had to leave shared memory");
	return true;
}

/* Counts one more segment of this size; with may_drop, evicts others for it.  False: there is no room. */
static bool
reserve_memory(Size bytes, bool may_drop)
{
	if (bytes > memory_limit())
		return false;
	uncount_ghosts();
	while (!try_to_reserve(bytes))
		if (!may_drop || !evict_a_segment())
			return false;
	return true;
}

dsm_handle
clari_cache_make_segment(const void *bytes, Size length, ClariError *error)
{
	SegmentTask task = {.bytes = bytes, .length = length};

	error->code = CLARI_ERROR_NONE;
	if (!reserve_memory(length, true))
	{
		if (length <= memory_limit() && length > shm_room())
		{
			clari_error_set(error, CLARI_ERROR_IO, "could not keep the export in shared memory: /dev/shm is full");
			clari_error_hint(error, "Increase the size of /dev/shm; a part of it is reserved for parallel queries.");
		}
		return DSM_HANDLE_INVALID;
	}
	if (carried_out(make_segment, &task) && task.handle != DSM_HANDLE_INVALID)
		return task.handle;
	release_memory(length);
	clari_error_set(error, CLARI_ERROR_IO, "could not keep the export in shared memory");
	clari_error_detail(error, "A segment of " UINT64_FORMAT " bytes could not be created.", (uint64) length);
	clari_error_hint(error, "Check the free space in /dev/shm.");
	return DSM_HANDLE_INVALID;
}

void
clari_cache_discard_segment(dsm_handle segment, Size length)
{
	ClariSegmentShared gone = {segment, length};

	release_memory(length);
	release_segment(&gone);
}

bool
clari_cache_is_popular(const ClariVersion *version)
{
	const ClariSlotShared *slot;
	bool popular;

	if (version->bytes > memory_limit() / CLARI_SEGMENT_SHARE)
		return false;
	clari_cache_lock(LW_SHARED);
	slot = find_without_segment_locked(version);
	popular = slot != NULL && slot->file_reads >= POPULAR && fits_in_memory_locked(version->bytes);
	clari_cache_unlock();
	return popular;
}

/* Starts again to count how often the version's file is read. */
static void
reset_reads(const ClariVersion *version)
{
	ClariSlotShared *slot;

	clari_cache_lock(LW_EXCLUSIVE);
	slot = find_without_segment_locked(version);
	if (slot != NULL)
		slot->file_reads = 0;
	clari_cache_unlock();
}

void
clari_cache_promote(const ClariVersion *version, const void *bytes)
{
	SegmentTask task = {.bytes = bytes, .length = version->bytes};
	ClariSlotShared *slot;
	bool promoted = false;

	if (!reserve_memory(version->bytes, false))
	{
		reset_reads(version); /* otherwise every reader would try again */
		return;
	}
	HOLD_INTERRUPTS(); /* no slot has what was reserved yet, so an error would leak it */
	if (!carried_out(make_segment, &task) || task.handle == DSM_HANDLE_INVALID)
		release_memory(version->bytes);
	else
	{
		clari_cache_lock(LW_EXCLUSIVE);
		slot = find_without_segment_locked(version);
		if (slot != NULL)
			slot->version.segment = task.handle;
		clari_cache_unlock();
		if (slot == NULL)
			clari_cache_discard_segment(task.handle, version->bytes);
		promoted = slot != NULL;
	}
	RESUME_INTERRUPTS();
	if (promoted)
		log_version(version, "is in shared memory again");
}

bool
clari_cache_reserve_disk(int index, uint64 bytes, ClariError *error)
{
	ClariDropped dropped;
	bool fits;

	do
	{
		clari_dropped_init(&dropped);
		clari_cache_lock(LW_EXCLUSIVE);
		fits = make_room_on_disk_locked(bytes, &dropped);
		/* Files dropped to make room must be removed first; then try again. */
		if (fits && dropped.nfiles == 0)
		{
			clari_control->disk_bytes += bytes;
			clari_control->flights[index].disk_bytes += bytes;
		}
		clari_cache_unlock();
		clari_dropped_release(&dropped);
	} while (dropped.nfiles > 0);
	if (fits)
		return true;
	clari_error_set(error, CLARI_ERROR_IO, "the export does not fit into the cache on disk");
	clari_error_detail(error, "clari_fdw.disk_cache_size is %d kB.", clari_disk_cache_size);
	clari_error_hint(error, "Raise clari_fdw.disk_cache_size.");
	return false;
}

void
clari_cache_release_disk(int index, uint64 bytes)
{
	ClariFlightShared *flight = &clari_control->flights[index];

	clari_cache_lock(LW_EXCLUSIVE);
	bytes = Min(bytes, flight->disk_bytes); /* which is 0 if the directory was changed */
	flight->disk_bytes -= bytes;
	uncount_locked(bytes);
	clari_cache_unlock();
}

void
clari_cache_count_record(int index, uint32 bytes)
{
	ClariSlotShared *slot;

	clari_cache_lock(LW_EXCLUSIVE);
	slot = &clari_control->slots[clari_control->flights[index].slot];
	uncount_locked(slot->record_bytes);
	clari_control->disk_bytes += bytes;
	slot->record_bytes = bytes;
	clari_cache_unlock();
}
