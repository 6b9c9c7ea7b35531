// title: Save importance
// description: Copy the scores of a query to the cached `importance` of filters and kernels.
// mode: write
// parameter: uid = "toy/query/one" -- uid of a complete query
// columns: filters, kernels

CYPHER 25
MATCH (q:Query {uid: $uid, status: 'complete'})
MATCH (m:Model {name: q.model})
SET m.importanceQuery = q.uid
WITH q
MATCH (q)-[s:SCORED]->(b:Filter)
WITH b, s, s.kernelScores AS ks
SET b.importance = s.score
WITH b, ks
MATCH (b)<-[k:KERNEL]-()
SET k.importance = ks[k.input]
RETURN count(DISTINCT b) AS filters, count(k) AS kernels
