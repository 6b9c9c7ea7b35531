// title: Start writing class profiles
// description: Say that the model has none; they are there when `finish_profiles` has run.
// mode: write
// parameter: model = "toy-2" -- name of the model
// columns: model

CYPHER 25
MATCH (m:Model {name: $model, status: 'complete'})
SET m.profiles = null, m.profileImages = null
RETURN m.name AS model
