// title: Activate a projection
// description: Copy its places to u, v and, around the middle of each layer's disc, x, y of the filters; all of it or nothing.
// mode: write
// parameter: uid = "toy/projection/kernel-pca-disc" -- uid of a complete projection
// columns: model, method, filters

CYPHER 25
MATCH (m:Model {name: split($uid, '/')[0], status: 'complete'})
SET m.name = m.name  // takes the model's lock: who writes the projection anew waits, or has ended
WITH m
MATCH (p:Projection {uid: $uid, status: 'complete'})
SET m.activeProjection = p.uid
WITH m, p
MATCH (p)-[s:PLACES]->(f:Filter)<-[:HAS_FILTER]-(l:Layer)
SET f.u = s.u, f.v = s.v, f.x = l.x + s.u, f.y = l.y + s.v
RETURN m.name AS model, p.method AS method, count(f) AS filters
