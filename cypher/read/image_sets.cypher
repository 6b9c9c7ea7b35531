// title: Image sets of a model
// description: The stored image sets of a model with their number of images; `own` ones are those that people have made.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: name, images, hash, own

CYPHER 25
MATCH (s:ImageSet {model: $model})
RETURN s.name AS name, s.images AS images, s.hash AS hash, coalesce(s.own, false) AS own
ORDER BY name = 'overall' DESC, own, name
