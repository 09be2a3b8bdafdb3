/*
 * account.c
 *		What is known about an account from its jobs: the user of its key, its
 *		organization and currency, and what Clari refuses to export for it; and,
 *		from its exports, the fiscal calendar.
 *
 * Runs in sessions and workers.  The tables have a fixed size; when they are full,
 * the oldest facts are replaced.
 */
#include "postgres.h"

#include "cache/internal.h"

/* ------- users, organizations and currencies ------- */

static ClariAccountShared *
find_account_locked(const ClariKey *account)
{
	for (int i = 0; i < CLARI_MAX_ACCOUNTS; i++)
		if (clari_control->accounts[i].facts.user_id[0] != '\0' &&
			memcmp(&clari_control->accounts[i].account, account, sizeof(*account)) == 0)
			return &clari_control->accounts[i];
	return NULL;
}

const char *
clari_account_organization_locked(const ClariKey *account)
{
	const ClariAccountShared *place = find_account_locked(account);

	return place != NULL ? place->facts.organization : "";
}

/* Replaces a fact, unless the new one is empty. */
static void
note_fact(char *fact, const char *noted, size_t size)
{
	if (noted[0] != '\0')
		strlcpy(fact, noted, size);
}

void
clari_account_note_locked(const ClariKey *account, const ClariAccountFacts *facts)
{
	ClariAccountShared *place = find_account_locked(account);

	if (place == NULL)
	{
		place = &clari_control->accounts[clari_control->next_account];
		clari_control->next_account = (clari_control->next_account + 1) % CLARI_MAX_ACCOUNTS;
		memset(place, 0, sizeof(*place));
	}
	place->account = *account;
	note_fact(place->facts.user_id, facts->user_id, sizeof(place->facts.user_id));
	note_fact(place->facts.organization, facts->organization, sizeof(place->facts.organization));
	note_fact(place->facts.currency, facts->currency, sizeof(place->facts.currency));
}

void
clari_cache_note_account(const ClariKey *account, const ClariAccountFacts *facts)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_account_note_locked(account, facts);
	clari_cache_unlock();
}

void
clari_cache_account(const ClariKey *account, ClariAccountFacts *facts)
{
	const ClariAccountShared *place;

	memset(facts, 0, sizeof(*facts));
	clari_cache_lock(LW_SHARED);
	place = find_account_locked(account);
	if (place != NULL)
		*facts = place->facts;
	clari_cache_unlock();
}

/* ------- the calendar ------- */

void
clari_cache_calendar(const ClariKey *account, ClariCalendar *calendar)
{
	memset(calendar, 0, sizeof(*calendar));
	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < clari_control->nslots; i++)
	{
		const ClariSlotShared *slot = &clari_control->slots[i];
		const ClariRowsetMeta *meta = &slot->version.meta;
		ClariQuarter quarter = {.first = meta->period_start, .last = meta->period_end};

		if (slot->used && memcmp(&meta->account, account, sizeof(*account)) == 0 && quarter.first != CLARI_DATE_NONE &&
			quarter.last != CLARI_DATE_NONE && clari_period_parse(meta->answered, &quarter.period))
			clari_calendar_add(calendar, &quarter);
	}
	clari_cache_unlock();
}

void
clari_cache_numbering(const ClariKey *account, const char *forecast, ClariNumbering *numbering)
{
	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < clari_control->nslots; i++)
	{
		const ClariSlotShared *slot = &clari_control->slots[i];
		const ClariRowsetMeta *meta = &slot->version.meta;

		if (slot->used && clari_slot_has_rowset(slot) && memcmp(&meta->account, account, sizeof(*account)) == 0 &&
			strcmp(meta->forecast, forecast) == 0)
			clari_numbering_add(numbering, &meta->numbering);
	}
	clari_cache_unlock();
}

/* ------- refused exports of crm_total and crm_closed ------- */

#define REFUSAL_MEMORY USECS_PER_DAY

static ClariRefusalShared *
find_refusal_locked(const ClariKey *account, const char *forecast)
{
	for (int i = 0; i < CLARI_MAX_REFUSALS; i++)
		if (clari_control->refusals[i].refused_at != 0 && strcmp(clari_control->refusals[i].forecast, forecast) == 0 &&
			memcmp(&clari_control->refusals[i].account, account, sizeof(*account)) == 0)
			return &clari_control->refusals[i];
	return NULL;
}

void
clari_cache_note_crm_refused(const ClariKey *account, const char *forecast)
{
	ClariRefusalShared *place;

	clari_cache_lock(LW_EXCLUSIVE);
	place = find_refusal_locked(account, forecast);
	if (place == NULL)
	{
		place = &clari_control->refusals[clari_control->next_refusal];
		clari_control->next_refusal = (clari_control->next_refusal + 1) % CLARI_MAX_REFUSALS;
	}
	place->account = *account;
	strlcpy(place->forecast, forecast, sizeof(place->forecast));
	place->refused_at = GetCurrentTimestamp();
	clari_cache_unlock();
}

bool
clari_cache_is_crm_refused(const ClariKey *account, const char *forecast)
{
	TimestampTz now = GetCurrentTimestamp();
	const ClariRefusalShared *place;
	bool refused;

	clari_cache_lock(LW_SHARED);
	place = find_refusal_locked(account, forecast);
	refused = place != NULL && place->refused_at <= now && now - place->refused_at < REFUSAL_MEMORY;
	clari_cache_unlock();
	return refused;
}
