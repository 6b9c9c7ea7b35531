// title: Filters by model, layer and channel
// description: Range index for filters of a layer in channel order.
// mode: schema
// columns: 

CYPHER 25
CREATE INDEX filter_place IF NOT EXISTS FOR (f:Filter) ON (f.model, f.layerIndex, f.channel)
