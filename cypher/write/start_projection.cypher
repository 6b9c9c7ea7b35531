// title: Start writing a projection
// description: Make the projection, or take its older places away in steps; it is not complete until it is finished.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: uid = "toy-2/projection/pca" -- uid of the projection
// parameter: properties = {"method": "pca", "seed": 0} -- its properties
// columns: uid

CYPHER 25
MATCH (:Model {name: $model, status: 'complete'})
MERGE (p:Projection {uid: $uid})
SET p = $properties, p.uid = $uid, p.model = $model, p.status = 'writing'
WITH p
CALL (p) {
  MATCH (p)-[old:PLACES]->()
  DELETE old
}
RETURN p.uid AS uid
