// title: Remove a query
// description: Remove a saved query, its scores and its circuits; the active query stops being active.
// mode: write
// parameter: uid = "toy/query/gone" -- uid of the query
// columns: uid

CYPHER 25
MATCH (q:Query {uid: $uid})
MATCH (m:Model {name: q.model})
SET m.name = m.name  // takes the model's lock: an activation that ends now is seen
WITH q, m
FOREACH (each IN CASE WHEN m.activeQuery = $uid THEN [m] ELSE [] END | SET each.activeQuery = null)
WITH q
CALL (q) {
  MATCH (c:Circuit {query: q.uid})
  DETACH DELETE c
}
DETACH DELETE q
RETURN $uid AS uid
