//! The questions that can be asked about objects, with their answers.

use std::collections::BTreeSet;

use super::{COLOURS, Object, Objects, SHAPES};
use crate::figures::question::{Question, int, read, seen, word, yes};

/// A kind of thing that a question can count: its name in the plural and whether an object is one.
struct Group {
    name: String,
    of: Vec<usize>,
}

/// `bus` gives `buses`.
fn plural(name: &str) -> String {
    match name.strip_suffix('s') {
        Some(_) => format!("{name}es"),
        None => format!("{name}s"),
    }
}

fn groups(scene: &Objects) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut add = |name: String, is: &dyn Fn(&Object) -> bool| {
        let of = (0..scene.objects.len())
            .filter(|i| is(&scene.objects[*i]))
            .collect();
        if !groups.iter().any(|g| g.name == name) {
            groups.push(Group { name, of });
        }
    };
    for colour in COLOURS {
        add(format!("{colour} objects"), &|o| o.color == colour);
    }
    for size in ["small", "large"] {
        add(format!("{size} objects"), &|o| o.size == size);
    }
    for material in ["rubber", "metal"] {
        add(format!("{material} objects"), &|o| o.material == material);
    }
    for (class, _, shape) in SHAPES {
        add(plural(class), &|o| o.class() == class);
        if scene.objects.iter().any(|o| o.shape == shape) {
            add(plural(shape), &|o| o.shape == shape);
        }
    }
    for object in &scene.objects {
        let (colour, class) = (&object.color, object.class());
        add(format!("{colour} {}", plural(class)), &|o| {
            o.color == *colour && o.class() == class
        });
        add(format!("{} {colour} objects", object.size), &|o| {
            o.color == *colour && o.size == object.size
        });
    }
    groups
}

/// Every question about the scene, in a fixed order.
pub(crate) fn questions(scene: &Objects) -> Vec<Question> {
    let mut made = Vec::new();
    let groups = groups(scene);
    for Group { name, of } in &groups {
        made.push(
            seen(
                "count",
                int(of.len()),
                [
                    format!("How many {name} are there?"),
                    format!("What number of {name} are there?"),
                    format!("Number of {name}?"),
                ],
            )
            .near_misses()
            .measures(format!("the number of {name}"))
            .steps(2),
        );
        made.push(seen(
            "exist",
            yes(!of.is_empty()),
            [
                format!("Are there any {name}?"),
                format!("Does the scene show any {name}?"),
                format!("Any {name}?"),
            ],
        ));
    }
    compared(&groups, &mut made);
    for (i, object) in scene.objects.iter().enumerate() {
        if let Some(name) = described(scene, i) {
            attributes(object, &name, &mut made);
            placed(scene, i, &name, &mut made);
        }
    }
    made
}

/// Comparisons of groups that have objects.
fn compared(groups: &[Group], made: &mut Vec<Question>) {
    let there: Vec<&Group> = groups
        .iter()
        .filter(|g| !g.of.is_empty())
        .take(12)
        .collect();
    for a in &there {
        for b in there.iter().filter(|b| b.name != a.name) {
            let (first, second) = (&a.name, &b.name);
            made.push(
                seen(
                    "more",
                    yes(a.of.len() > b.of.len()),
                    [
                        format!("Are there more {first} than {second}?"),
                        format!("Is the number of {first} greater than the number of {second}?"),
                        format!("More {first} than {second}?"),
                    ],
                )
                .steps(3),
            );
            made.push(
                seen(
                    "as_many",
                    yes(a.of.len() == b.of.len()),
                    [
                        format!("Are there the same number of {first} and {second}?"),
                        format!("Is the number of {first} the same as the number of {second}?"),
                        format!("As many {first} as {second}?"),
                    ],
                )
                .steps(3),
            );
        }
    }
}

/// Words that only this object fits: its class or shape, with colour or size where one is needed.
fn described(scene: &Objects, at: usize) -> Option<String> {
    let object = &scene.objects[at];
    let fits = |is: &dyn Fn(&Object) -> bool| scene.objects.iter().filter(|o| is(o)).count() == 1;
    let class = object.class();
    if fits(&|o| o.class() == class) {
        return Some(class.to_owned());
    }
    if fits(&|o| o.shape == object.shape) {
        return Some(object.shape.clone());
    }
    if fits(&|o| o.class() == class && o.color == object.color) {
        return Some(format!("{} {class}", object.color));
    }
    let is_same =
        |o: &Object| o.shape == object.shape && o.color == object.color && o.size == object.size;
    fits(&is_same).then(|| format!("{} {} {}", object.size, object.color, object.shape))
}

fn attributes(object: &Object, name: &str, made: &mut Vec<Question>) {
    let pools: [(&'static str, &str, Vec<&str>, &str); 3] = [
        ("color", &object.color, COLOURS.to_vec(), &object.color),
        ("size", &object.size, vec!["small", "large"], &object.size),
        (
            "material",
            &object.material,
            vec!["rubber", "metal"],
            &object.material,
        ),
    ];
    for (attribute, value, pool, said) in pools {
        // The description must not give it away.
        if name.split(' ').any(|w| w == said) {
            continue;
        }
        made.push(
            seen(
                attribute,
                word(value),
                [
                    format!("What is the {attribute} of the {name}?"),
                    format!("What {attribute} is the {name}?"),
                    format!("{attribute} of the {name}?"),
                ],
            )
            .among(pool.into_iter().map(str::to_owned).collect()),
        );
    }
    let mut names = BTreeSet::new();
    for part in &object.parts {
        if !names.insert(&part.name) {
            continue;
        }
        let part_name = &part.name;
        made.push(
            read(
                "part_color",
                word(part.color.clone()),
                [
                    format!("What is the color of the {part_name} of the {name}?"),
                    format!("What color is the {part_name} of the {name}?"),
                    format!("Color of the {part_name} of the {name}?"),
                ],
            )
            .among(COLOURS.map(str::to_owned).to_vec())
            .steps(2),
        );
    }
}

fn placed(scene: &Objects, at: usize, name: &str, made: &mut Vec<Question>) {
    for (place, there) in ["left of", "right of", "in front of", "behind"]
        .iter()
        .zip(&scene.relations)
    {
        let Some(there) = there.get(at) else {
            continue;
        };
        made.push(
            seen(
                "count_placed",
                int(there.len()),
                [
                    format!("How many objects are {place} the {name}?"),
                    format!("What number of things are {place} the {name}?"),
                    format!("Number of objects {place} the {name}?"),
                ],
            )
            .near_misses()
            .measures(format!("the number of objects {place} the {name}"))
            .steps(3),
        );
    }
}
