// title: Start writing class profiles
// description: Give the writing a name and say that the model has none; they are there when `finish_profiles` has run. A later start makes an earlier writing give way.
// mode: write
// parameter: model = "toy-2" -- name of the model
// columns: run

CYPHER 25
MATCH (m:Model {name: $model, status: 'complete'})
SET m.profiles = null, m.profileImages = null, m.profilesRun = randomUUID()
RETURN m.profilesRun AS run
