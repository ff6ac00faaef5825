//! The table of types, read once from the `.types` files beside this one.
//!
//! A type is a name at the left margin, followed by its fields in the order in which Go declares them; `<Other>`
//! stands for the fields of another type. A field is `name type marks…`:
//!
//! | type | meaning |
//! |---|---|
//! | `bool string int32 int64` | a plain value |
//! | `IntOrString Quantity Time` | Kubernetes' own scalars |
//! | `Raw` | any JSON, kept as it is |
//! | `[T]` `{T}` | a list, a map from text |
//! | `*T` | a pointer: left out when null only; other fields are left out when empty, but structs never |
//!
//! | mark | meaning |
//! |---|---|
//! | `required` | the CRD demands it, JSON always carries it |
//! | `demanded` | the CRD demands it, JSON omits it when empty |
//! | `written` | the CRD does not demand it, JSON always carries it |
//! | `as=any` `as=open` `as=object` `as=NAME` | what the CRD shows instead: anything, any object, a bare object, a type |
//! | `atomic` `set` `key=a,b` | how server-side apply merges it (`atomic` also stands beside a type) |
//! | `enum=a,b` `default=JSON` `immutable` | further rules of the CRD |
//! | `filled=JSON` | what the API server fills in when it stores a pod template |

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

const SOURCES: [&str; 7] = [
    include_str!("rollout.types"),
    include_str!("analysis.types"),
    include_str!("experiment.types"),
    include_str!("pod.types"),
    include_str!("volume.types"),
    include_str!("job.types"),
    include_str!("meta.types"),
];

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(&SOURCES).expect("a test parses the table"));

/// The position of a type in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TypeId(usize);

/// The form of a value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Shape {
    Bool,
    Text,
    Int32,
    Int64,
    IntOrString,
    Quantity,
    Time,
    Raw,
    Struct(TypeId),
    List(Box<Shape>),
    Map(Box<Shape>),
}

/// What the CRD shows of a field.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum InCrd {
    /// Its shape.
    Shape,
    /// Anything at all.
    Any,
    /// An object with any content.
    Open,
    /// An object about whose content nothing is said (the metadata of the object itself).
    Object,
    /// Another type.
    Other(Shape),
}

/// How server-side apply merges a list or map.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Merge {
    Unsaid,
    Atomic,
    Set,
    Keyed(Vec<&'static str>),
}

/// One field of a type.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub pointer: bool,
    pub always_written: bool,
    pub required: bool,
    pub in_crd: InCrd,
    pub merge: Merge,
    pub immutable: bool,
    pub one_of: Vec<&'static str>,
    pub default: Option<Value>,
    pub filled: Option<Value>,
}

/// What the CRD says of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum View<'a> {
    /// Nothing: it may be anything.
    Any,
    /// An object; its content is free.
    Open,
    /// An object; nothing is said of its content.
    Object,
    /// A value of this shape.
    Of(&'a Shape),
}

impl Field {
    /// What the CRD says of the field.
    pub fn view(&self) -> View<'_> {
        match &self.in_crd {
            InCrd::Shape => View::of(&self.shape),
            InCrd::Any => View::Any,
            InCrd::Open => View::Open,
            InCrd::Object => View::Object,
            InCrd::Other(shape) => View::of(shape),
        }
    }
}

impl<'a> View<'a> {
    /// What the CRD says of the items of a list or map, or of a value by itself.
    pub fn of(shape: &'a Shape) -> View<'a> {
        if *shape == Shape::Raw { View::Any } else { View::Of(shape) }
    }

    /// What the CRD says of the content of an object under that name.
    pub fn entry(self, name: &str) -> Option<View<'a>> {
        match self {
            View::Of(Shape::Struct(id)) => table().at(*id).field(name).map(Field::view),
            View::Of(Shape::Map(item)) => Some(View::of(item)),
            _ => None,
        }
    }
}

/// One type.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Type {
    pub name: &'static str,
    pub atomic: bool,
    /// In the order of Go's declaration.
    pub fields: Vec<Field>,
    by_name: Vec<usize>,
}

impl Type {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.by_name.binary_search_by(|at| self.fields[*at].name.cmp(name)).ok()?;
        Some(&self.fields[self.by_name[at]])
    }

    /// The fields in alphabetical order.
    pub fn sorted(&self) -> impl Iterator<Item = &Field> {
        self.by_name.iter().map(|at| &self.fields[*at])
    }
}

/// All types.
pub(crate) struct Table {
    types: Vec<Type>,
    by_name: BTreeMap<&'static str, TypeId>,
}

/// The table of this program.
pub(crate) fn table() -> &'static Table {
    &TABLE
}

impl Table {
    /// The type at a position.
    pub fn at(&self, id: TypeId) -> &Type {
        &self.types[id.0]
    }

    /// The position of the type of that name.
    pub fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    fn parse(sources: &[&'static str]) -> Result<Table, String> {
        let mut blocks: Vec<Block> = Vec::new();
        for line in sources.iter().flat_map(|source| source.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with(' ') {
                blocks.last_mut().ok_or_else(|| format!("a field without a type: {line}"))?.lines.push(line);
            } else {
                let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
                blocks.push(Block { name, atomic: rest == "atomic", lines: Vec::new() });
            }
        }
        let by_name: BTreeMap<_, _> = blocks.iter().enumerate().map(|(i, b)| (b.name, TypeId(i))).collect();
        if by_name.len() != blocks.len() {
            return Err("a type is declared twice".into());
        }
        let types = blocks.iter().map(|block| block.resolve(&blocks, &by_name)).collect::<Result<_, _>>()?;
        Ok(Table { types, by_name })
    }
}

/// A type as it stands in a file.
struct Block {
    name: &'static str,
    atomic: bool,
    lines: Vec<&'static str>,
}

impl Block {
    fn resolve(&self, blocks: &[Block], names: &BTreeMap<&str, TypeId>) -> Result<Type, String> {
        let fields = self.fields(blocks, names)?;
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by_key(|at| fields[*at].name);
        if by_name.windows(2).any(|pair| fields[pair[0]].name == fields[pair[1]].name) {
            return Err(format!("{} has a field twice", self.name));
        }
        Ok(Type { name: self.name, atomic: self.atomic, fields, by_name })
    }

    fn fields(&self, blocks: &[Block], names: &BTreeMap<&str, TypeId>) -> Result<Vec<Field>, String> {
        let mut fields = Vec::new();
        for line in &self.lines {
            let line = line.trim();
            if let Some(inlined) = line.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                let id = names.get(inlined).ok_or_else(|| format!("unknown type {inlined}"))?;
                fields.extend(blocks[id.0].fields(blocks, names)?);
            } else {
                fields.push(field(line, names).map_err(|why| format!("{}: {line}: {why}", self.name))?);
            }
        }
        Ok(fields)
    }
}

fn field(line: &'static str, names: &BTreeMap<&str, TypeId>) -> Result<Field, String> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(form)) = (words.next(), words.next()) else { return Err("no type".into()) };
    let pointer = form.starts_with('*');
    let mut field = Field {
        name,
        shape: shape(form.trim_start_matches('*'), names)?,
        pointer,
        always_written: false,
        required: false,
        in_crd: InCrd::Shape,
        merge: Merge::Unsaid,
        immutable: false,
        one_of: Vec::new(),
        default: None,
        filled: None,
    };
    for mark in words {
        let (mark, argument) = mark.split_once('=').unwrap_or((mark, ""));
        match mark {
            "required" => (field.always_written, field.required) = (true, true),
            "demanded" => field.required = true,
            "written" => field.always_written = true,
            "immutable" => field.immutable = true,
            "atomic" => field.merge = Merge::Atomic,
            "set" => field.merge = Merge::Set,
            "key" => field.merge = Merge::Keyed(argument.split(',').collect()),
            "enum" => field.one_of = argument.split(',').collect(),
            "default" => field.default = Some(json(argument)?),
            "filled" => field.filled = Some(json(argument)?),
            "as" => {
                field.in_crd = match argument {
                    "any" => InCrd::Any,
                    "open" => InCrd::Open,
                    "object" => InCrd::Object,
                    other => InCrd::Other(shape(other, names)?),
                }
            }
            _ => return Err(format!("unknown mark {mark}")),
        }
    }
    Ok(field)
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|why| why.to_string())
}

fn shape(form: &str, names: &BTreeMap<&str, TypeId>) -> Result<Shape, String> {
    let inside = |open, close| form.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    Ok(match form {
        "bool" => Shape::Bool,
        "string" => Shape::Text,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "IntOrString" => Shape::IntOrString,
        "Quantity" => Shape::Quantity,
        "Time" => Shape::Time,
        "Raw" => Shape::Raw,
        _ => match (inside('[', ']'), inside('{', '}')) {
            (Some(item), _) => Shape::List(Box::new(shape(item, names)?)),
            (_, Some(item)) => Shape::Map(Box::new(shape(item, names)?)),
            _ => Shape::Struct(*names.get(form).ok_or_else(|| format!("unknown type {form}"))?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let table = Table::parse(&SOURCES).unwrap();
        assert!(table.types.len() > 200, "{} types", table.types.len());
        for kind in ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment"] {
            assert!(table.find(kind).is_some(), "{kind}");
        }
    }

    #[test]
    fn inlined_fields_stand_in_place() {
        let probe = table().at(table().find("Probe").unwrap());
        assert_eq!(probe.fields[0].name, "exec");
        assert_eq!(probe.field("periodSeconds").unwrap().filled, Some(Value::from(10)));
        assert!(probe.field("PeriodSeconds").is_none());
    }

    #[test]
    fn mistakes_in_the_table_are_named() {
        let check = |text: &'static str, want: &str| {
            assert_eq!(Table::parse(&[text]).err().as_deref(), Some(want));
        };
        check("A\n  b  Bee", "A: b  Bee: unknown type Bee");
        check("A\n  b  int32 sometimes", "A: b  int32 sometimes: unknown mark sometimes");
        check("A\n  b  bool\n  b  bool", "A has a field twice");
        check("A\nA", "a type is declared twice");
        check("  b  bool", "a field without a type:   b  bool");
    }
}
