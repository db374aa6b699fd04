//! Bundles as files: what is written is read, by other versions, too; what is not sound is refused.

mod archive;
mod compatibility;
mod corpus;
mod hostile;
mod imports;
mod making;
mod signatures;
