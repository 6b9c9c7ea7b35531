// title: Kernels by layer and score
// description: Composite index on the active query's score: top kernels of a layer are a range scan.
// mode: schema
// columns: 

CYPHER 25
CREATE INDEX kernel_layer_score IF NOT EXISTS FOR ()-[k:KERNEL]-() ON (k.layer, k.score)
