// title: Finish writing the scores of a query
// description: Mark the query complete if it has scores of so many filters; no row when another writing has begun since, or the query is gone.
// mode: write
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: run = "" -- name of the writing, from `start_scores`
// parameter: filters = 0 -- filters that must have scores
// columns: written, stamp

CYPHER 25
MATCH (q:Query {uid: $uid})
SET q.uid = q.uid  // takes the query's lock: who begins another writing waits, or has begun it
WITH q
WHERE q.scoresRun = $run
WITH q, COUNT { (q)-[:SCORED]->() } AS written
SET q.status = CASE WHEN written = $filters THEN 'complete' ELSE 'scoring' END, q.scoresStamp = randomUUID()
RETURN written, q.scoresStamp AS stamp
