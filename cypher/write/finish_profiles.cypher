// title: Finish the class profiles
// description: Say from which images they are.
// mode: write
// parameter: model = "toy-2" -- name of the model
// parameter: profiles = "" -- hash of the images
// parameter: images = 0 -- number of images
// columns: model

CYPHER 25
MATCH (m:Model {name: $model, status: 'complete'})
SET m.profiles = $profiles, m.profileImages = $images
RETURN m.name AS model
