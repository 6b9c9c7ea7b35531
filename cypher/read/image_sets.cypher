// title: Image sets of a model
// description: The stored image sets of a model with their number of images.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: name, images, hash

CYPHER 25
MATCH (s:ImageSet {model: $model})
RETURN s.name AS name, s.images AS images, s.hash AS hash
ORDER BY name = 'overall' DESC, name
