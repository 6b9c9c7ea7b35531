// title: Save some scores of a query
// description: One relationship per filter, with the scores of its incoming kernels as a list; nothing is written (and `mine` is false) when another writing has begun since, or the query is gone.
// mode: write
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: run = "" -- name of the writing, from `start_scores`
// parameter: rows = [] -- uid, score and kernelScores of each filter
// columns: mine, written

CYPHER 25
OPTIONAL MATCH (q:Query {uid: $uid})
SET q.uid = q.uid  // takes the query's lock: who begins another writing waits, or has begun it
WITH q, coalesce(q.scoresRun = $run, false) AS mine
CALL (q, mine) {
  UNWIND CASE WHEN mine THEN $rows ELSE [] END AS row
  MATCH (f:Filter {uid: row.uid})
  CREATE (q)-[:SCORED {score: row.score, kernelScores: row.kernelScores}]->(f)
  RETURN count(f) AS written
}
RETURN mine, written
