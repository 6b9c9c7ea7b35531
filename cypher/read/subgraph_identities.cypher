// title: Identities of a model
// description: For every filter of every sum the filters that it adds up, in the order of execution; `end` says that nothing reads its maps as kernels or identities.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: target, sources, inputs, end

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(l:Layer {kind: 'sum'})-[:HAS_FILTER]->(b:Filter)<-[k:IDENTITY]-(a:Filter)
WITH l, b, k, a ORDER BY l.index, b.channel, k.input
WITH l, b, collect(a.uid) AS sources, collect(k.input) AS inputs
RETURN b.uid AS target, sources, inputs, NOT EXISTS { (b)-[:KERNEL|IDENTITY]->() } AS end
ORDER BY l.index, b.channel
