// title: Start writing a projection
// description: Make a projection under a name of its own, which takes the place of an earlier one by the method when it is finished; until then that one stays.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: uid = "toy-2/projection/pca" -- uid that it will have
// parameter: properties = {"method": "pca", "seed": 0} -- its properties
// columns: run

CYPHER 25
MATCH (:Model {name: $model, status: 'complete'})
CREATE (p:Projection)
SET p = $properties, p.uid = $uid + '#' + randomUUID(), p.model = $model, p.status = 'writing'
RETURN p.uid AS run
