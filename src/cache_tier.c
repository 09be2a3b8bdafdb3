/*
 * cache_tier.c
 *		The two tiers of the cache and their bounds: segments of shared memory,
 *		files of the store.
 *
 * Runs in sessions and workers.  What goes is chosen under the cache's lock and
 * disposed of after it, since that unlinks files: expired rowsets first, then
 * the least recently used.  Who reads a rowset keeps it: a segment lives until
 * its last reader lets go, a descriptor outlives the file's name.
 *
 * The bounds are this process's GUCs, so a reload takes effect at the next
 * look-up of any session.
 */
#include "postgres.h"

#include "cache_shared.h"
#include "store.h"

#include "storage/dsm_impl.h"

#include <sys/statvfs.h>

/* Of /dev/shm this much stays free for parallel queries: a quarter, at most. */
#define SHM_SHARE 4
#define SHM_ENOUGH (64 * 1024 * 1024)

/* ------- dropping ------- */

static void
note_file(ClariDropped *dropped, const ClariKey *key, uint64 generation, uint64 bytes)
{
	Assert(dropped->nfiles < CLARI_DROP_MAX);
	dropped->files[dropped->nfiles].key = *key;
	dropped->files[dropped->nfiles++].generation = generation;
	dropped->file_bytes += bytes;
}

void
clari_tier_drop_segment_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	ClariControl *control = clari_cache_control();

	if (entry->version.segment == DSM_HANDLE_INVALID)
		return;
	Assert(dropped->nsegments < CLARI_DROP_MAX);
	dropped->segments[dropped->nsegments++] = entry->version.segment;
	entry->version.segment = DSM_HANDLE_INVALID;
	control->segment_bytes -= entry->version.bytes;
	control->nsegments--;
}

void
clari_tier_drop_file_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	if (!entry->in_file)
		return;
	entry->in_file = false;
	note_file(dropped, &entry->key, entry->version.meta.generation, entry->version.bytes);
}

void
clari_tier_drop_record_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	/* Known or not: the directory may not have been readable when it was loaded. */
	note_file(dropped, &entry->key, 0, entry->record_bytes);
	entry->record_bytes = 0;
}

/* There can be less, as another directory may have been set meanwhile. */
static void
uncount_locked(ClariControl *control, uint64 bytes)
{
	control->disk_bytes -= Min(bytes, control->disk_bytes);
}

int
clari_tier_dispose(const ClariDropped *dropped)
{
	int left = 0;

	for (int i = 0; i < dropped->nfiles; i++)
	{
		const ClariKey *key = &dropped->files[i].key;
		uint64 generation = dropped->files[i].generation;

		left += generation == 0 ? !clari_store_remove_record(key, dropped->at) : !clari_store_remove(key, generation);
	}
	if (dropped->file_bytes > 0)
	{
		ClariControl *control = clari_cache_control();

		clari_cache_lock(LW_EXCLUSIVE);
		uncount_locked(control, dropped->file_bytes);
		clari_cache_unlock();
	}
	for (int i = 0; i < dropped->nsegments; i++)
		dsm_unpin_segment(dropped->segments[i]);
	return left;
}

/* ------- choosing ------- */

static bool
has_segment(const ClariEntryShared *entry)
{
	return entry->version.segment != DSM_HANDLE_INVALID;
}

static bool
has_file(const ClariEntryShared *entry)
{
	return entry->in_file;
}

/* Which of those that have something to drop goes first, or NULL if none has. */
static ClariEntryShared *
victim_locked(bool (*has)(const ClariEntryShared *entry))
{
	ClariControl *control = clari_cache_control();
	TimestampTz now = GetCurrentTimestamp();
	ClariEntryShared *victim = NULL;
	bool victim_expired = false;

	for (int i = 0; i < control->nentries; i++)
	{
		ClariEntryShared *entry = &control->entries[i];
		bool expired;

		if (!entry->used || !has(entry))
			continue;
		expired = entry->version.meta.posted_at + entry->ttl <= now;
		if (victim == NULL || expired > victim_expired ||
			(expired == victim_expired && entry->used_at < victim->used_at))
		{
			victim = entry;
			victim_expired = expired;
		}
	}
	return victim;
}

static bool
drop_a_segment_locked(ClariDropped *dropped)
{
	ClariEntryShared *victim = dropped->nsegments < CLARI_DROP_BATCH ? victim_locked(has_segment) : NULL;

	if (victim == NULL)
		return false;
	clari_tier_drop_segment_locked(victim, dropped);
	clari_cache_control()->stats.counts[CLARI_COUNT_MEMORY_EVICTIONS]++;
	return true;
}

static bool
drop_a_file_locked(ClariDropped *dropped)
{
	ClariEntryShared *victim = dropped->nfiles < CLARI_DROP_BATCH ? victim_locked(has_file) : NULL;

	if (victim == NULL)
		return false;
	clari_tier_drop_file_locked(victim, dropped);
	clari_cache_control()->stats.counts[CLARI_COUNT_DISK_EVICTIONS]++;
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

/* Drops segments until so many bytes more fit; false: there are none left to drop. */
static bool
make_room_in_memory_locked(Size bytes, int nsegments, ClariDropped *dropped)
{
	ClariControl *control = clari_cache_control();

	while (control->segment_bytes + bytes > memory_limit() || control->nsegments + nsegments > CLARI_MAX_SEGMENTS)
		if (!drop_a_segment_locked(dropped))
			return false;
	return true;
}

/* The same for files, counting what is dropped but not yet gone as gone. */
static bool
make_room_on_disk_locked(uint64 bytes, ClariDropped *dropped)
{
	ClariControl *control = clari_cache_control();

	while (control->disk_bytes + bytes > disk_limit() + dropped->file_bytes)
		if (!drop_a_file_locked(dropped))
			return false;
	return true;
}

void
clari_tier_trim_locked(ClariDropped *dropped)
{
	(void) make_room_in_memory_locked(0, 0, dropped);
	(void) make_room_on_disk_locked(0, dropped);
}

/*
 * Is there room for it in /dev/shm, and some left?  What is dropped to make room
 * may still have readers, so this is asked again each time.
 */
static bool
shm_has_room(Size bytes)
{
	struct statvfs shm;
	uint64 total;

	if (dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &shm) != 0 || shm.f_blocks == 0)
		return true;
	total = (uint64) shm.f_blocks * shm.f_frsize;
	return (uint64) shm.f_bavail * shm.f_frsize >= bytes + Min(total / SHM_SHARE, SHM_ENOUGH);
}

/* One attempt: 1 it is counted, 0 there is nothing left to drop, -1 try again, as something was dropped for /dev/shm. */
static int
try_to_reserve(Size bytes, bool shm_full)
{
	ClariControl *control = clari_cache_control();
	ClariDropped dropped;
	int result;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	if (shm_full)
		result = drop_a_segment_locked(&dropped) ? -1 : 0;
	else
		result = make_room_in_memory_locked(bytes, 1, &dropped) ? 1 : 0;
	if (result == 1)
	{
		control->segment_bytes += bytes;
		control->nsegments++;
	}
	clari_cache_unlock();
	clari_tier_dispose(&dropped);
	return result;
}

bool
clari_cache_reserve_memory(Size bytes, ClariError *error)
{
	bool shm_full;
	int result;

	error->code = CLARI_ERROR_NONE;
	if (bytes > memory_limit())
		return false;
	do
	{
		shm_full = !shm_has_room(bytes);
		result = try_to_reserve(bytes, shm_full);
	} while (result < 0);
	if (result == 0 && shm_full)
	{
		clari_error_set(error, CLARI_ERROR_IO, "could not keep the export in shared memory: /dev/shm is full");
		clari_error_hint(error, "Give /dev/shm more room; a part of it is left to parallel queries.");
	}
	return result == 1;
}

void
clari_cache_release_memory(Size bytes)
{
	ClariControl *control = clari_cache_control();

	clari_cache_lock(LW_EXCLUSIVE);
	control->segment_bytes -= bytes;
	control->nsegments--;
	clari_cache_unlock();
}

bool
clari_cache_reserve_disk(int index, uint64 bytes, ClariError *error)
{
	ClariControl *control = clari_cache_control();
	ClariDropped dropped;
	bool fits;

	do
	{
		clari_dropped_init(&dropped);
		clari_cache_lock(LW_EXCLUSIVE);
		fits = make_room_on_disk_locked(bytes, &dropped);
		/* counted only once what had to go for it has gone */
		if (fits && dropped.nfiles == 0)
		{
			control->disk_bytes += bytes;
			control->flights[index].disk_bytes += bytes;
		}
		clari_cache_unlock();
		clari_tier_dispose(&dropped);
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
	ClariControl *control = clari_cache_control();
	ClariFlightShared *flight = &control->flights[index];

	clari_cache_lock(LW_EXCLUSIVE);
	bytes = Min(bytes, flight->disk_bytes); /* none, if another directory was set */
	flight->disk_bytes -= bytes;
	uncount_locked(control, bytes);
	clari_cache_unlock();
}

void
clari_cache_count_record(int index, uint32 bytes)
{
	ClariControl *control = clari_cache_control();
	ClariEntryShared *entry;

	clari_cache_lock(LW_EXCLUSIVE);
	entry = &control->entries[control->flights[index].entry];
	uncount_locked(control, entry->record_bytes);
	control->disk_bytes += bytes;
	entry->record_bytes = bytes;
	clari_cache_unlock();
}
