// title: Finish an ingest
// description: Mark a model as complete.
// mode: write
// parameter: model = "toy" -- name of the model
// columns: model

CYPHER 25
MATCH (m:Model {name: $model})
SET m.status = 'complete'
RETURN m.name AS model
