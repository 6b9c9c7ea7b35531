// title: One Image per uid
// description: Uniqueness of Image.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT image_uid IF NOT EXISTS FOR (n:Image) REQUIRE n.uid IS UNIQUE
