// title: Finish a projection
// description: Mark it complete if every filter of the model has a place.
// mode: write
// parameter: uid = "toy-2/projection/pca" -- uid of the projection
// columns: filters, written

CYPHER 25
MATCH (p:Projection {uid: $uid})
WITH p, COUNT { (p)-[:PLACES]->() } AS written,
  COUNT { (:Model {name: p.model})-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(:Filter) } AS filters
SET p.status = CASE WHEN written = filters THEN 'complete' ELSE p.status END
RETURN filters, written
