// title: Save the scores of a query
// description: One relationship per filter, with the scores of its incoming kernels as a list, replacing older ones; marks the query complete if all filters were found.
// mode: write
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: rows = [] -- uid, score and kernelScores of each filter
// columns: written, stamp

CYPHER 25
MATCH (q:Query {uid: $uid})
SET q.status = 'scoring'  // takes the query's lock: who scores the same query waits here
WITH q
CALL (q) {
  MATCH (q)-[old:SCORED]->()
  DELETE old
}
UNWIND $rows AS row
MATCH (f:Filter {uid: row.uid})
CREATE (q)-[:SCORED {score: row.score, kernelScores: row.kernelScores}]->(f)
WITH q, count(f) AS written
SET q.status = CASE WHEN written = size($rows) THEN 'complete' ELSE 'scoring' END, q.scoresStamp = randomUUID()
RETURN written, q.scoresStamp AS stamp
