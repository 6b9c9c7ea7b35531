// title: Activate a query
// description: Copy the scores of a saved query to `score` of filters and kernels, in one transaction on the server.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: uid = "toy/query/one" -- uid of a complete query of the model
// columns: filters, kernels

CYPHER 25
MATCH (m:Model {name: $model})
MATCH (q:Query {uid: $uid, model: $model, status: 'complete'})
SET m.activeQuery = null  // takes the model's lock: a second activation waits here
WITH m, q
CALL (q) {
  MATCH (q)-[s:SCORED]->(b:Filter)
  WITH b, s, s.kernelScores AS ks
  SET b.score = s.score
  WITH b, ks
  MATCH (b)<-[k:KERNEL]-()
  SET k.score = ks[k.input]
  RETURN count(DISTINCT b) AS filters, count(k) AS kernels
}
SET m.activeQuery = q.uid
RETURN filters, kernels
