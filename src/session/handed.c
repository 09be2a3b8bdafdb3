/*
 * handed.c
 *		Rowsets that are handed over to a statement: see handed.h.
 *
 * Runs in sessions.  Takes no lock.
 */
#include "postgres.h"

#include "session/handed.h"

/* No table is likely to have this name. */
#define HANDED_NAME "clari_fdw: what this statement is handed"

QueryEnvironment *
clari_handed_environment(ClariHanded *handed)
{
	QueryEnvironment *environment = create_queryEnv();
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = HANDED_NAME;
	relation->md.reliddesc = handed->relid;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->reldata = handed;
	register_ENR(environment, relation);
	return environment;
}

ClariHanded *
clari_handed_find(QueryEnvironment *environment, Oid relid)
{
	EphemeralNamedRelation relation = get_ENR(environment, HANDED_NAME);
	ClariHanded *handed = relation != NULL ? relation->reldata : NULL;

	return handed != NULL && handed->relid == relid ? handed : NULL;
}
