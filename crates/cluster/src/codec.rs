//! How plans cross the network: as Ballista writes them, with the version of each function of ours.
//!
//! On the way in, a function is taken from what this process knows, and only in the version that the plan
//! was made with. Functions of DataFusion are written as it writes them.

use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{TableReference, exec_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::functions::Functions;
use crate::versions;

/// Writes and reads plans for a process that knows `functions`; `here` is what it calls itself when it refuses one.
#[derive(Debug)]
pub struct Codec<Inner> {
    inner: Inner,
    functions: Functions,
    here: &'static str,
}

/// For plans as they are asked for.
pub fn logical(functions: &Functions, here: &'static str) -> Arc<dyn LogicalExtensionCodec> {
    Arc::new(Codec {
        inner: BallistaLogicalExtensionCodec::default(),
        functions: functions.clone(),
        here,
    })
}

/// For plans as they are run.
pub fn physical(functions: &Functions, here: &'static str) -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(Codec {
        inner: BallistaPhysicalExtensionCodec::default(),
        functions: functions.clone(),
        here,
    })
}

impl<Inner> Codec<Inner> {
    /// The toolkit's version, a space, and the function's; nothing for a function that is not ours.
    fn encode(&self, function: &ScalarUDF, buffer: &mut Vec<u8>) {
        if let Some((_, number)) = self.functions.get(function.name()) {
            buffer.extend_from_slice(format!("{} {number}", self.functions.version()).as_bytes());
        }
    }

    fn decode(&self, name: &str, buffer: &[u8]) -> Result<Arc<ScalarUDF>> {
        if buffer.is_empty() {
            // Neither DataFusion's nor ours.
            versions::same_function(self.here, name, None, 0)?;
        }
        let text = std::str::from_utf8(buffer).ok();
        let Some((version, number)) = text
            .and_then(|text| text.split_once(' '))
            .and_then(|(version, number)| Some((version, number.parse().ok()?)))
        else {
            return exec_err!(
                "{}: the plan's function {name:?} says no version",
                self.here
            );
        };
        let ours = self.functions.version();
        versions::same(self.here, ours, "the plan", version)?;
        let known = self.functions.get(name);
        versions::same_function(self.here, name, known.map(|known| known.1), number)?;
        match known {
            Some((function, _)) => Ok(function.clone()),
            None => exec_err!("{} does not know the function {name:?}", self.here),
        }
    }
}

impl LogicalExtensionCodec for Codec<BallistaLogicalExtensionCodec> {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[LogicalPlan],
        ctx: &TaskContext,
    ) -> Result<Extension> {
        self.inner.try_decode(buf, inputs, ctx)
    }

    fn try_encode(&self, node: &Extension, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode(node, buf)
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        table_ref: &TableReference,
        schema: SchemaRef,
        ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        self.inner
            .try_decode_table_provider(buf, table_ref, schema, ctx)
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        self.inner.try_encode_table_provider(table_ref, node, buf)
    }

    fn try_decode_file_format(
        &self,
        buf: &[u8],
        ctx: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.inner.try_decode_file_format(buf, ctx)
    }

    fn try_encode_file_format(
        &self,
        buf: &mut Vec<u8>,
        node: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.inner.try_encode_file_format(buf, node)
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.decode(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.encode(node, buf);
        Ok(())
    }
}

impl PhysicalExtensionCodec for Codec<BallistaPhysicalExtensionCodec> {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.try_decode(buf, inputs, ctx, converter)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        self.inner.try_encode(node, buf, converter)
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.decode(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.encode(node, buf);
        Ok(())
    }
}
