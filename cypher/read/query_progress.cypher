// title: Progress of a query
// description: Whether a query is complete, how many filters have scores, and the stamp of the last complete writing.
// mode: read
// parameter: uid = "toy/query/one" -- uid of the query
// columns: status, scored, stamp

CYPHER 25
MATCH (q:Query {uid: $uid})
RETURN q.status AS status, COUNT { (q)-[:SCORED]->() } AS scored, q.scoresStamp AS stamp
