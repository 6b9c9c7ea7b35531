// title: One ImageSet per uid
// description: Uniqueness of ImageSet.uid; also the index that every lookup by uid uses.
// mode: schema
// columns: 

CYPHER 25
CREATE CONSTRAINT image_set_uid IF NOT EXISTS FOR (n:ImageSet) REQUIRE n.uid IS UNIQUE
