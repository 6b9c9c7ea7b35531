// title: Save the scores of a query
// description: One relationship per filter, with the scores of its incoming kernels as a list; marks the query complete.
// mode: write
// parameter: uid = "toy/query/one" -- uid of the query
// parameter: rows = [] -- uid, score and kernelScores of each filter
// columns: written

CYPHER 25
MATCH (q:Query {uid: $uid})
UNWIND $rows AS row
MATCH (f:Filter {uid: row.uid})
CREATE (q)-[:SCORED {score: row.score, kernelScores: row.kernelScores}]->(f)
WITH q, count(f) AS written
SET q.status = 'complete'
RETURN written
