// title: Start writing exemplars
// description: Give the writing a name, and say that the model has no exemplars; they are there when `finish_exemplars` has run. A later start makes an earlier writing give way.
// mode: write
// parameter: model = "toy" -- name of the model
// columns: run

CYPHER 25
MATCH (m:Model {name: $model, status: 'complete'})
SET m.exemplars = null, m.exemplarImages = null, m.exemplarsRun = randomUUID()
RETURN m.exemplarsRun AS run
