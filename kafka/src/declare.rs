//! `message!`: a message is declared once, and read, written and sampled from that.
//!
//! A declaration is a struct whose fields stand in the order of the wire. After its type, a field has
//!
//! * `= value`: what it is in versions without it (without this: zero, empty, null);
//! * `, 2..`: the versions that have it; `..` are all;
//! * `, null 2..`: the versions in which it may be null, if not all. Only fields of an `Option` are ever null;
//! * `, tag 0`: it is a tagged field (KIP-482), written only if it is not `value`. Tags rise from field to field.
//!
//! What comes of it: the struct, its default, and [`Field`](crate::field::Field). Versions that are flexible have
//! tagged fields at the end of each struct; tags that are not declared are skipped.

/// Declares messages and the structs that they consist of.
macro_rules! message {
    () => {};
    ($(#[$meta:meta])* pub struct $name:ident<$lt:lifetime> { $($fields:tt)* } $($rest:tt)*) => {
        $crate::declare::message! { @struct [$(#[$meta])*] $lt $name [<$lt>] { $($fields)* } }
        $crate::declare::message! { $($rest)* }
    };
    ($(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        $crate::declare::message! { @struct [$(#[$meta])*] 'a $name [] { $($fields)* } }
        $crate::declare::message! { $($rest)* }
    };
    (@struct [$($meta:tt)*] $lt:lifetime $name:ident [$($generics:tt)*] { $(
        $(#[$doc:meta])*
        $field:ident: $ty:ty $(= $default:expr)?, $versions:expr $(, null $null:expr)? $(, tag $tag:literal)?;
    )* }) => {
        $($meta)*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name $($generics)* { $(
            $(#[$doc])*
            #[doc = concat!("\n\nVersions: `", stringify!($versions), "`.")]
            pub $field: $ty,
        )* }

        impl $($generics)* Default for $name $($generics)* {
            fn default() -> Self {
                Self { $($field: $crate::declare::message!(@default $($default)?)),* }
            }
        }

        impl<$lt> $crate::field::Field<$lt> for $name $($generics)* {
            #[inline]
            #[allow(unused_mut)]
            fn read(
                r: &mut $crate::wire::Reader<$lt>,
                at: $crate::field::At,
                _: &'static str,
            ) -> Result<Self, $crate::wire::WireError> {
                use $crate::field::Field;
                $(
                    let mut $field: $ty = if $crate::declare::message!(@in at $versions $(, $tag)?) {
                        let at = at.nullable($crate::declare::message!(@null at $($null)?));
                        Field::read(r, at, stringify!($field))?
                    } else {
                        $crate::declare::message!(@default $($default)?)
                    };
                )*
                r.tags(at.flexible, |_tag, _field| {
                    $($(
                        if _tag == $tag && at.is_in($versions) {
                            $field = Field::read(_field, at, stringify!($field))?;
                            return _field.finish();
                        }
                    )?)*
                    Ok(())
                })?;
                Ok(Self { $($field),* })
            }

            #[inline]
            #[allow(unused_mut)]
            fn write(&self, w: &mut $crate::wire::Writer<'_>, at: $crate::field::At) {
                use $crate::field::Field;
                $(
                    if $crate::declare::message!(@in at $versions $(, $tag)?) {
                        let at = at.nullable($crate::declare::message!(@null at $($null)?));
                        Field::write(&self.$field, w, at);
                    }
                )*
                if at.flexible {
                    let mut tags = $crate::field::Tags::default();
                    $(
                        let default: $ty = $crate::declare::message!(@default $($default)?);
                        if $crate::declare::message!(@tag at $versions $(, $tag)?) && self.$field != default {
                            tags.add(0 $(+ $tag)?, at, &self.$field);
                        }
                    )*
                    tags.write(w);
                }
            }

            #[inline]
            fn bytes_min(at: $crate::field::At) -> usize {
                let mut bytes = usize::from(at.flexible);
                $(
                    if $crate::declare::message!(@in at $versions $(, $tag)?) {
                        bytes += <$ty as $crate::field::Field>::bytes_min(at);
                    }
                )*
                bytes
            }

            fn sample(at: $crate::field::At, seed: &mut u32) -> Self {
                Self { $(
                    $field: if at.is_in($versions) {
                        $crate::field::Field::sample(at, seed)
                    } else {
                        $crate::declare::message!(@default $($default)?)
                    },
                )* }
            }

            #[allow(unused_variables)]
            fn set_throttle(&mut self, ms: i32) {
                $($crate::declare::message!(@throttle self ms $field);)*
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@in $at:ident $versions:expr) => { $at.is_in($versions) };
    // A tagged field stands elsewhere.
    (@in $at:ident $versions:expr, $tag:literal) => { false };
    (@tag $at:ident $versions:expr) => { false };
    (@tag $at:ident $versions:expr, $tag:literal) => { $at.is_in($versions) };
    (@null $at:ident) => { true };
    (@null $at:ident $null:expr) => { $at.is_in($null) };
    (@throttle $self:ident $ms:ident throttle_time_ms) => { $self.throttle_time_ms = $ms };
    (@throttle $self:ident $ms:ident $other:ident) => {};
}

pub(crate) use message;
