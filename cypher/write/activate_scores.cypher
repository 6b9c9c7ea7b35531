// title: Activate a query in steps
// description: Copy the scores of a saved query to `score` of filters, kernels and identities, in concurrent transactions; `activeQuery` is null until all are done. A later activation makes an earlier one give way.
// mode: write
// parameter: uid = "toy/query/one" -- uid of a complete query
// parameter: batch = 50 -- filters per transaction; fewer where they have many kernels
// columns: outcome, filters, kernels

CYPHER 25
MATCH (q:Query {uid: $uid, status: 'complete'})
MATCH (m:Model {name: q.model, status: 'complete'})
WITH q, m, m.name AS name, randomUUID() AS token
CALL (m, token) {
  SET m.activation = token, m.activeQuery = null
} IN TRANSACTIONS
MATCH (q)-[s:SCORED]->(b:Filter)
WITH name, token, b, s
CALL (name, token, b, s) {
  SET b.channel = b.channel  // takes the filter's lock, so that the token is read after an earlier writer's commit
  WITH name, token, b, s
  MATCH (:Model {name: name, activation: token})
  SET b.score = s.score
  WITH b, s.kernelScores AS ks
  MATCH (b)<-[k:KERNEL|IDENTITY]-()
  SET k.score = ks[k.input]
  RETURN sum(CASE WHEN k:KERNEL THEN 1 ELSE 0 END) AS written
} IN 4 CONCURRENT TRANSACTIONS OF $batch ROWS ON ERROR RETRY FOR 20 SECONDS THEN FAIL
WITH name, token, count(b) AS filters, sum(written) AS kernels
OPTIONAL MATCH (m:Model {name: name})
SET m.name = m.name  // takes the model's lock: who removes the query or the model waits, or has removed it
WITH m, token, filters, kernels
OPTIONAL MATCH (q:Query {uid: $uid, status: 'complete'})
WITH m, filters, kernels, CASE
  WHEN m IS NULL OR q IS NULL OR m.status <> 'complete' THEN 'removed'
  WHEN m.activation <> token THEN 'overtaken'
  ELSE 'active'
END AS outcome
SET m.activeQuery = CASE outcome WHEN 'active' THEN $uid ELSE m.activeQuery END
RETURN outcome, filters, kernels
