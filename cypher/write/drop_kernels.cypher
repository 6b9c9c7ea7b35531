// title: Remove kernels and scores
// description: Remove everything that ends in a filter of the model, in transactions of their own.
// mode: write
// parameter: model = "gone" -- name of the model
// columns: filters

CYPHER 25
MATCH (f:Filter {model: $model})
CALL (f) {
  MATCH (f)<-[r]-()
  DELETE r
} IN TRANSACTIONS OF 40 ROWS
RETURN count(f) AS filters
