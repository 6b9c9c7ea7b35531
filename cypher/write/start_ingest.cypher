// title: Start an ingest
// description: Create the model, marked as being ingested.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: properties = {} -- properties of the model
// columns: model

CYPHER 25
CREATE (m:Model {name: $model, status: 'ingesting'})
SET m += $properties
RETURN m.name AS model
