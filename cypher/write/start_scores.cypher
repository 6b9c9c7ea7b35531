// title: Start writing the scores of a query
// description: Give the writing a name, mark the query as not complete, and remove its older scores in steps. A later start makes an earlier writing give way.
// mode: write
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: replace = true -- whether a query that is complete is written anew
// columns: run

CYPHER 25
MATCH (q:Query {uid: $uid})
WITH q, q.uid AS uid, randomUUID() AS run
CALL (q, run) {
  SET q.uid = q.uid  // takes the query's lock, so that the status is read after an earlier writer's commit
  WITH q, run
  WHERE $replace OR q.status <> 'complete'
  SET q.status = 'scoring', q.scoresRun = run, q.scoresStamp = null
} IN TRANSACTIONS
OPTIONAL MATCH (q)-[old:SCORED]->()
CALL (uid, run, old) {
  MATCH (q:Query {uid: uid})
  SET q.uid = q.uid  // the same for the name of the writing
  WITH q, run, old
  WHERE q.scoresRun = run AND old IS NOT NULL
  DELETE old
} IN TRANSACTIONS OF 200 ROWS ON ERROR RETRY FOR 20 SECONDS THEN FAIL
RETURN DISTINCT run
