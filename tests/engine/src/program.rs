//! What an engine does in these tests: the same rows, statements and refusals for the same seed.

use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_macros::{DatabaseSchema, Table};
use wasm_dbms_memory::MemoryProvider;

/// One table with one index: its image is the same in every run.
#[derive(Debug, Table, Clone, PartialEq, Eq)]
#[table = "accounts"]
pub struct Account {
    #[primary_key]
    pub id: Uint32,
    pub owner: Text,
    pub branch: Uint32,
    pub balance: Int64,
}

#[derive(DatabaseSchema)]
#[tables(Account = "accounts")]
pub struct Bank;

#[derive(Debug, Table, Clone, PartialEq, Eq)]
#[table = "authors"]
pub struct Author {
    #[primary_key]
    pub id: Uint32,
    pub name: Text,
}

#[derive(Debug, Table, Clone, PartialEq, Eq)]
#[table = "documents"]
pub struct Document {
    #[primary_key]
    #[autoincrement]
    pub id: Uint32,
    #[index]
    pub title: Text,
    pub body: Blob,
    #[foreign_key(entity = "Author", table = "authors", column = "id")]
    pub author_id: Uint32,
}

/// Several tables, with a foreign key, two indexes, automatic ids and blobs: some of its lists stand in any order.
#[derive(DatabaseSchema)]
#[tables(Author = "authors", Document = "documents")]
pub struct Library;

/// Random numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

pub fn account(id: u32, owner: &str, branch: u32, balance: i64) -> AccountInsertRequest {
    AccountInsertRequest { id: Uint32(id), owner: owner.into(), branch: Uint32(branch), balance: Int64(balance) }
}

pub fn by_id(id: u32) -> Filter {
    Filter::eq("id", Value::Uint32(Uint32(id)))
}

pub fn new_balance(id: u32, balance: i64) -> AccountUpdateRequest {
    AccountUpdateRequest { balance: Some(Int64(balance)), where_clause: Some(by_id(id)), ..Default::default() }
}

pub fn new_owner(id: u32, owner: &str) -> AccountUpdateRequest {
    AccountUpdateRequest { owner: Some(owner.into()), where_clause: Some(by_id(id)), ..Default::default() }
}

/// Everything that a table says, as text.
pub fn rows<T: TableSchema, M: MemoryProvider>(database: &WasmDbmsDatabase<'_, M>, filter: Option<Filter>) -> String
where
    T::Record: std::fmt::Debug,
{
    let query = Query::builder().filter(filter).build();
    match database.select::<T>(query) {
        Ok(rows) => format!("{:?}", rows),
        Err(error) => format!("{:?}", error),
    }
}

/// Statements on one table. Returns what each answered; `commit` is called after each commit.
pub fn bank<M: MemoryProvider>(
    context: &DbmsContext<M>,
    seed: u64,
    steps: u32,
    mut commit: impl FnMut(),
) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut said = Vec::new();
    Bank::register_tables(context).unwrap();
    commit();
    for step in 0..steps {
        let id = random.below(120) as u32;
        let owner = "o".repeat(1 + random.below(300) as usize);
        match random.below(8) {
            0..=2 => {
                let database = WasmDbmsDatabase::oneshot(context, Bank);
                said.push(format!("{:?}", database.insert::<Account>(account(id, &owner, id % 7, i64::from(step)))));
            }
            3 => {
                let database = WasmDbmsDatabase::oneshot(context, Bank);
                said.push(format!("{:?}", database.update::<Account>(new_owner(id, &owner))));
            }
            4 => {
                let database = WasmDbmsDatabase::oneshot(context, Bank);
                said.push(format!("{:?}", database.delete::<Account>(DeleteBehavior::Restrict, Some(by_id(id)))));
            }
            5 => {
                let database = WasmDbmsDatabase::oneshot(context, Bank);
                let branch = Filter::eq("branch", Value::Uint32(Uint32(id % 7)));
                said.push(rows::<Account, M>(&database, Some(branch)));
                said.push(rows::<Account, M>(&database, Some(by_id(id))));
            }
            _ => {
                // A payment between two accounts, and a new one; one in three is taken back.
                let transaction = context.begin_transaction();
                let mut database = WasmDbmsDatabase::from_transaction(context, Bank, transaction);
                said.push(format!("{:?}", database.update::<Account>(new_balance(id, i64::from(step)))));
                said.push(format!("{:?}", database.update::<Account>(new_balance(id + 1, -i64::from(step)))));
                said.push(format!("{:?}", database.insert::<Account>(account(200 + step, &owner, 9, 1))));
                let end = if random.below(3) == 0 { database.rollback() } else { database.commit() };
                said.push(format!("{:?}", end));
            }
        }
        commit();
    }
    let database = WasmDbmsDatabase::oneshot(context, Bank);
    // Larger than a page: refused.
    said.push(format!("{:?}", database.insert::<Account>(account(9_999, &"x".repeat(70_000), 0, 0))));
    said.push(rows::<Account, M>(&database, None));
    commit();
    said
}

/// Statements on several tables with large values.
pub fn library<M: MemoryProvider>(
    context: &DbmsContext<M>,
    seed: u64,
    steps: u32,
    mut commit: impl FnMut(),
) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut said = Vec::new();
    Library::register_tables(context).unwrap();
    commit();
    for step in 0..steps {
        let author = random.below(12) as u32;
        let body = vec![step as u8; random.below(9_000) as usize];
        let database = WasmDbmsDatabase::oneshot(context, Library);
        said.push(match random.below(6) {
            0 => {
                let name = format!("author {}", author);
                let request = AuthorInsertRequest { id: Uint32(author), name: name.as_str().into() };
                format!("{:?}", database.insert::<Author>(request))
            }
            1..=3 => {
                let request = DocumentInsertRequest {
                    id: Autoincrement::Auto,
                    title: format!("title {}", step).as_str().into(),
                    body: Blob(body),
                    author_id: Uint32(author),
                };
                format!("{:?}", database.insert::<Document>(request))
            }
            4 => {
                let whose = Some(Filter::eq("author_id", Value::Uint32(Uint32(author))));
                let request =
                    DocumentUpdateRequest { body: Some(Blob(body)), where_clause: whose, ..Default::default() };
                format!("{:?}", database.update::<Document>(request))
            }
            _ => format!("{:?}", database.delete::<Author>(DeleteBehavior::Cascade, Some(by_id(author)))),
        });
        commit();
    }
    let database = WasmDbmsDatabase::oneshot(context, Library);
    said.push(rows::<Author, M>(&database, None));
    said.push(rows::<Document, M>(&database, None));
    commit();
    said
}

/// An image with the lists in rising order that the engine writes in any: of tables (page 0), and of a table's indexes.
pub fn in_order(mut image: Vec<u8>) -> Vec<u8> {
    // A hash, four page numbers, and a fifth where the table counts automatic ids.
    let tables = sort_list(&mut image, 8, 16, |rest| 24 + if rest[24] == 1 { 5 } else { 1 });
    for table in tables {
        let page = u32::from_le_bytes(table[20..24].try_into().unwrap()) as usize * 65_536;
        // Names of columns with their lengths, and the page of the root.
        sort_list(&mut image, page, page + 8, |rest| {
            let columns = u64::from_le_bytes(rest[..8].try_into().unwrap());
            (0..columns).fold(8, |at, _| at + 1 + usize::from(rest[at])) + 4
        });
    }
    image
}

/// Sorts the entries of a list whose count stands at `count`, and returns them.
fn sort_list(image: &mut [u8], count: usize, begin: usize, length: impl Fn(&[u8]) -> usize) -> Vec<Vec<u8>> {
    let count = u64::from_le_bytes(image[count..count + 8].try_into().unwrap());
    let mut end = begin;
    let mut entries = Vec::new();
    for _ in 0..count {
        let length = length(&image[end..]);
        entries.push(image[end..end + length].to_vec());
        end += length;
    }
    entries.sort();
    image[begin..end].copy_from_slice(&entries.concat());
    entries
}
