// title: Kernels that read the image
// description: For each of some filters that read nothing but input channels, the weights of its kernels in the order of the channels.
// mode: read
// parameter: filters = ["toy/conv1/0"] -- uids of filters
// columns: uid, layer, kernelSize, channels, weights

CYPHER 25
UNWIND $filters AS filter
MATCH (l:Layer)-[:HAS_FILTER]->(f:Filter {uid: filter})<-[k:KERNEL]-(a:Filter)
WITH l, f, k, a ORDER BY k.input
WITH l, f, collect(a:InputChannel) AS images, collect(a.channel) AS channels, collect(k.weights) AS weights
WHERE all(image IN images WHERE image)
RETURN f.uid AS uid, f.layer AS layer, l.kernelSize AS kernelSize, channels, weights
