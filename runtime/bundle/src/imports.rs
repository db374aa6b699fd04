//! What a component imports and exports, and how much of a pool one sandbox of it takes up.
//!
//! A static scan: sections of code are jumped over, those of data are measured, nothing is validated or run. Whatever the component
//! is, the host's linker has the last word; this is what a manifest says before.

use crate::BundleError;
use std::ops::{Add, Range};
use wasmparser::{
    BinaryReaderError, Chunk, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Instance, Parser, Payload,
};

/// Components within components are followed this deep.
const DEPTH: usize = 16;

/// Interfaces of a standard library without which no guest starts. The sandbox answers them with nothing or with
/// what is the same in every run, except the files that a run grants. Python has sockets in its library, whatever a
/// component does: a sandbox refuses to make one.
const BASELINE: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Why a component cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It is malformed.
    #[error(transparent)]
    Malformed(#[from] BinaryReaderError),
    /// A section is longer than what is there.
    #[error("the section at {at:#x} ends too early or too late")]
    Cut {
        /// Where it begins.
        at: usize,
    },
    /// Components are nested too deep.
    #[error("components lie within components, more than {DEPTH} deep")]
    Depth,
}

/// What is found in a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Names that it imports, sorted.
    pub imports: Vec<String>,
    /// Names that it exports, sorted.
    pub exports: Vec<String>,
    /// What one sandbox of it takes up.
    pub needs: PoolNeeds,
    /// Bytes of the sections of data of all its modules: what instantiation would copy.
    pub data_bytes: u64,
}

/// What one sandbox of a component takes up in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolNeeds {
    /// Core instances.
    pub core_instances: u32,
    /// Memories.
    pub memories: u32,
    /// Tables.
    pub tables: u32,
}

impl Add for PoolNeeds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            core_instances: self.core_instances.saturating_add(other.core_instances),
            memories: self.memories.saturating_add(other.memories),
            tables: self.tables.saturating_add(other.tables),
        }
    }
}

impl PoolNeeds {
    /// Whether a pool with this much has enough for `needed`.
    pub fn cover(self, needed: Self) -> bool {
        self.core_instances >= needed.core_instances
            && self.memories >= needed.memories
            && self.tables >= needed.tables
    }

    fn largest(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |a, b| Self {
            core_instances: a.core_instances.max(b.core_instances),
            memories: a.memories.max(b.memories),
            tables: a.tables.max(b.tables),
        })
    }
}

/// Which part of the host an import asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// The interface of this project: payloads, context, engine.
    Core,
    /// Linear algebra of the host.
    Kernels,
    /// Native programs.
    Program,
    /// What a standard library needs.
    Baseline,
    /// Anything else, which no host offers.
    Unknown,
}

impl Package {
    /// The package of an import by its name, for example `taps:core/payloads@0.1.0`.
    pub fn of(import: &str) -> Self {
        if let Some(interface) = import.strip_prefix("taps:core/") {
            return match interface.split('@').next() {
                Some("payloads" | "context" | "engine") => Self::Core,
                Some("kernels") => Self::Kernels,
                Some("program") => Self::Program,
                _ => Self::Unknown,
            };
        }
        if BASELINE.iter().any(|prefix| import.starts_with(prefix)) {
            Self::Baseline
        } else {
            Self::Unknown
        }
    }
}

/// Finds what a component imports and exports; `name` is for messages.
pub fn scan(name: &str, bytes: &[u8]) -> Result<Scan, BundleError> {
    crate::check_component_header(name, bytes)?;
    let mut walk = Walk {
        bytes,
        scopes: Vec::new(),
        data_bytes: 0,
    };
    let scope = walk
        .component(0..bytes.len())
        .map_err(|source| BundleError::Component {
            name: name.to_owned(),
            source,
        })?;
    let Scope {
        mut imports,
        mut exports,
        needs,
        ..
    } = scope;
    imports.sort();
    imports.dedup();
    exports.sort();
    Ok(Scan {
        imports,
        exports,
        needs,
        data_bytes: walk.data_bytes,
    })
}

/// One component on the way: its index spaces, as far as they matter here.
#[derive(Default)]
struct Scope {
    imports: Vec<String>,
    exports: Vec<String>,
    /// What an instance of each core module takes up.
    modules: Vec<PoolNeeds>,
    /// What an instance of each component takes up.
    components: Vec<PoolNeeds>,
    /// What this component takes up.
    needs: PoolNeeds,
}

struct Walk<'a> {
    bytes: &'a [u8],
    scopes: Vec<Scope>,
    data_bytes: u64,
}

impl<'a> Walk<'a> {
    fn component(&mut self, range: Range<usize>) -> Result<Scope, ScanError> {
        let mut parser = Parser::new(range.start as u64);
        let mut at = range.start;
        let mut scope = Scope::default();
        loop {
            let (payload, next) = step(&mut parser, self.bytes, at..range.end)?;
            at = next;
            match payload {
                Payload::ModuleSection {
                    unchecked_range: range,
                    ..
                } => {
                    at = range.end;
                    let (needs, data_bytes) = module(self.bytes, range)?;
                    scope.modules.push(needs);
                    self.data_bytes += data_bytes;
                }
                Payload::ComponentSection {
                    unchecked_range: range,
                    ..
                } => {
                    at = range.end;
                    if self.scopes.len() >= DEPTH {
                        return Err(ScanError::Depth);
                    }
                    self.scopes.push(scope);
                    let inner = self.component(range)?;
                    scope = self.scopes.pop().unwrap_or_default();
                    scope.components.push(inner.needs);
                }
                Payload::End(_) => return Ok(scope),
                other => self.section(&mut scope, other)?,
            }
        }
    }

    fn section(&self, scope: &mut Scope, payload: Payload<'a>) -> Result<(), ScanError> {
        match payload {
            Payload::InstanceSection(reader) => {
                for instance in reader {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let needs = known(&scope.modules, module_index);
                        scope.needs = scope.needs + needs;
                    }
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                for instance in reader {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance?
                    {
                        let needs = known(&scope.components, component_index);
                        scope.needs = scope.needs + needs;
                    }
                }
            }
            Payload::ComponentImportSection(reader) => {
                for import in reader {
                    let import = import?;
                    scope.imports.push(import.name.name.to_owned());
                    match import.ty {
                        ComponentTypeRef::Module(_) => scope.modules.push(PoolNeeds::default()),
                        ComponentTypeRef::Component(_) => {
                            scope.components.push(PoolNeeds::default());
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    scope.exports.push(export.name.name.to_owned());
                    // An export gives what it exports another index.
                    match export.kind {
                        ComponentExternalKind::Module => {
                            scope.modules.push(known(&scope.modules, export.index));
                        }
                        ComponentExternalKind::Component => {
                            scope
                                .components
                                .push(known(&scope.components, export.index));
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentAliasSection(reader) => {
                for alias in reader {
                    self.alias(scope, &alias?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn alias(&self, scope: &mut Scope, alias: &ComponentAlias<'_>) {
        match *alias {
            // Which one is not followed: counted as the largest known.
            ComponentAlias::InstanceExport { kind, .. } => match kind {
                ComponentExternalKind::Module => {
                    scope.modules.push(PoolNeeds::largest(&scope.modules));
                }
                ComponentExternalKind::Component => {
                    scope.components.push(PoolNeeds::largest(&scope.components));
                }
                _ => {}
            },
            ComponentAlias::Outer { kind, count, index } => {
                let outer = |of: fn(&Scope) -> &Vec<PoolNeeds>, own: &Scope| {
                    let scope = match (count as usize).checked_sub(1) {
                        None => Some(own),
                        Some(up) => self.scopes.iter().rev().nth(up),
                    };
                    scope.map_or_else(PoolNeeds::default, |scope| known(of(scope), index))
                };
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let needs = outer(|scope| &scope.modules, scope);
                        scope.modules.push(needs);
                    }
                    ComponentOuterAliasKind::Component => {
                        let needs = outer(|scope| &scope.components, scope);
                        scope.components.push(needs);
                    }
                    _ => {}
                }
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }
}

fn known(all: &[PoolNeeds], index: u32) -> PoolNeeds {
    all.get(index as usize).copied().unwrap_or_default()
}

/// What an instance of a core module takes up, which is what it defines itself; and the bytes of its section of data.
fn module(bytes: &[u8], range: Range<usize>) -> Result<(PoolNeeds, u64), ScanError> {
    let mut parser = Parser::new(range.start as u64);
    let mut at = range.start;
    let mut needs = PoolNeeds {
        core_instances: 1,
        ..PoolNeeds::default()
    };
    let mut data_bytes = 0;
    loop {
        let (payload, next) = step(&mut parser, bytes, at..range.end)?;
        at = next;
        match payload {
            Payload::MemorySection(reader) => {
                needs.memories = needs.memories.saturating_add(reader.count());
            }
            Payload::TableSection(reader) => {
                needs.tables = needs.tables.saturating_add(reader.count());
            }
            Payload::DataSection(reader) => data_bytes += reader.range().len() as u64,
            Payload::CodeSectionStart { range, .. } => {
                parser.skip_section();
                at = range.end;
            }
            Payload::End(_) => return Ok((needs, data_bytes)),
            _ => {}
        }
    }
}

/// One step of a parser, and where the next one starts.
fn step<'a>(
    parser: &mut Parser,
    bytes: &'a [u8],
    range: Range<usize>,
) -> Result<(Payload<'a>, usize), ScanError> {
    let rest = bytes
        .get(range.clone())
        .ok_or(ScanError::Cut { at: range.start })?;
    match parser.parse(rest, true)? {
        Chunk::Parsed { consumed, payload } => Ok((payload, range.start + consumed)),
        Chunk::NeedMoreData(_) => Err(ScanError::Cut { at: range.start }),
    }
}
