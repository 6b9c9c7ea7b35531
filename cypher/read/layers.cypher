// title: Layers of a model
// description: All layers in the order of execution, the input first.
// mode: read
// parameter: model = "toy" -- name of the model
// columns: uid, name, key, index, kind, depth, branch, gate, logits, inputs, filters, positions, kernelSize, stride, padding, paddingMode, dilation, groups, outputSize, activation

CYPHER 25
MATCH (:Model {name: $model})-[:HAS_LAYER]->(l:Layer)
RETURN l.uid AS uid, l.name AS name, l.key AS key, l.index AS index, l.kind AS kind, l.depth AS depth,
  l.branch AS branch, l.gate AS gate, l.logits AS logits, l.inputs AS inputs, l.filters AS filters,
  l.positions AS positions, l.kernelSize AS kernelSize, l.stride AS stride, l.padding AS padding,
  l.paddingMode AS paddingMode, l.dilation AS dilation, l.groups AS groups, l.outputSize AS outputSize,
  l.activation AS activation
ORDER BY index, name
