// title: Remove an image set of one's own
// description: Queries that were asked of it stay. Image sets of the image source cannot be removed.
// mode: write
// parameter: model = "toy" -- name of the model
// parameter: name = "gone" -- its name, as it was saved
// columns: dropped

CYPHER 25
MATCH (s:ImageSet {uid: $model + '/own/' + $name})
DETACH DELETE s
RETURN count(s) AS dropped
