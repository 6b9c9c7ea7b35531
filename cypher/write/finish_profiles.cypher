// title: Finish the class profiles
// description: Say from which images they are; no row when another writing has begun since.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: run = "" -- name of the writing, from `start_profiles`
// parameter: profiles = "" -- hash of the images
// parameter: images = 0 -- number of images
// columns: model

CYPHER 25
MATCH (m:Model {name: $model, status: 'complete'})
SET m.name = m.name  // takes the model's lock: who begins another writing waits, or has begun it
WITH m
WHERE m.profilesRun = $run
SET m.profiles = $profiles, m.profileImages = $images
RETURN m.name AS model
