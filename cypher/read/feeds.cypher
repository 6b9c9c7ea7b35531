// title: Feeds of a model
// description: Which layer feeds which, and the operations between them.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: source, target, position, addend, sourceStart, targetStart, channels, sourceChannels, targetChannels, operations

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(a:Layer)-[f:FEEDS]->(b:Layer)
RETURN a.name AS source, b.name AS target, f.position AS position, f.addend AS addend, f.sourceStart AS sourceStart,
  f.targetStart AS targetStart, f.channels AS channels, f.sourceChannels AS sourceChannels,
  f.targetChannels AS targetChannels, f.operations AS operations
ORDER BY b.index, position
