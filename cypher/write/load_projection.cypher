// title: Load the projection
// description: Record the stored places as the model's active projection.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: uid = "toy/projection/second" -- uid of the projection
// parameter: method = "kernel-pca-disc" -- how the places were found
// columns: written

CYPHER 25
MATCH (m:Model {name: $model})
CREATE (p:Projection {uid: $uid, model: $model, method: $method, seed: 0, status: 'complete'})
SET m.activeProjection = $uid
WITH m, p
MATCH (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
CREATE (p)-[:PLACES {u: f.u, v: f.v}]->(f)
RETURN count(f) AS written
