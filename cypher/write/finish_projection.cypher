// title: Finish a projection
// description: Put it in place of an earlier one by the method, if every filter of the model has a place; where that one is active the filters move. No row when a later writing has ended before.
// mode: write
// parameter: run = "toy-2/projection/pca#" -- name of the writing, from `start_projection`
// parameter: uid = "toy-2/projection/pca" -- uid that it gets
// columns: filters, written

CYPHER 25
MATCH (:Projection {uid: $run})
MATCH (m:Model {name: split($uid, '/')[0]})
SET m.name = m.name  // takes the model's lock: activations and other writings wait, or have ended
WITH m
MATCH (p:Projection {uid: $run, status: 'writing'})
WITH m, p, COUNT { (p)-[:PLACES]->() } AS written,
  COUNT { (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(:Filter) } AS filters
WITH m, p, written, filters, CASE WHEN written = filters THEN COLLECT {
  MATCH (o:Projection {model: m.name, method: p.method})
  WHERE o.uid = $uid OR (o.status = 'writing' AND o.createdAt < p.createdAt)  // an earlier writing, or what is left of it
  RETURN o
} ELSE [] END AS older
FOREACH (each IN older | DETACH DELETE each)
SET p.uid = CASE WHEN written = filters THEN $uid ELSE p.uid END,
  p.status = CASE WHEN written = filters THEN 'complete' ELSE p.status END
WITH m, p, written, filters
CALL (m, p) {
  MATCH (p)-[s:PLACES]->(f:Filter)<-[:HAS_FILTER]-(l:Layer)
  WHERE m.activeProjection = p.uid
  SET f.u = s.u, f.v = s.v, f.x = l.x + s.u, f.y = l.y + s.v
  RETURN count(f) AS moved
}
RETURN filters, written
