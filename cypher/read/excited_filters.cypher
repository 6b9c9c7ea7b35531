// title: Filters that an image excites
// description: The filters that have an image among their exemplars, top ranks first; a negative rank says that it is one of those that the filter responds to least.
// mode: read
// parameter: uid = "toy/image/1.png" -- uid of an image: model/image/path
// parameter: limit = 1000 -- number of filters
// columns: uid, layer, channel, rank, activation, row, column

CYPHER 25
MATCH (x:Image {uid: $uid})
MATCH (m:Model {name: x.model})
WHERE m.exemplars IS NOT NULL
MATCH (x)<-[e:EXCITED_BY]-(f:Filter)
RETURN f.uid AS uid, f.layer AS layer, f.channel AS channel, e.rank AS rank, e.activation AS activation,
  e.row AS row, e.column AS column
ORDER BY rank < 0, abs(rank), f.layerIndex, channel
LIMIT $limit
