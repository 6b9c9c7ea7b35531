// title: Mark a model for removal
// description: Mark a model as incomplete before its parts are removed.
// mode: write
// parameter: model = "gone" -- name of the model
// columns: model

CYPHER 25
MATCH (m:Model {name: $model})
SET m.status = 'ingesting', m.activeQuery = null
RETURN m.name AS model
