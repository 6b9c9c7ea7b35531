// title: Chosen kernels
// description: The kernels into some filters whose inputs are listed: one row per filter, with lists over its kernels.
// mode: read
// parameter: rows = [{"uid": "toy/conv2/0", "inputs": [0, 2]}] -- uid and chosen inputs of each filter
// columns: target, sources, inputs, signs, signRatios

CYPHER 25
UNWIND $rows AS row
MATCH (:Filter {uid: row.uid})<-[k:KERNEL]-(a:Filter)
WHERE k.input IN row.inputs
RETURN row.uid AS target, collect(a.uid) AS sources, collect(k.input) AS inputs, collect(k.sign) AS signs,
  collect(k.signRatio) AS signRatios
