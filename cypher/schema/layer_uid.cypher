// title: One Layer per uid
// description: Uniqueness of Layer.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT layer_uid IF NOT EXISTS FOR (n:Layer) REQUIRE n.uid IS UNIQUE
