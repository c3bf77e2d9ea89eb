// Reads the records that `qpat partition` leaves on composite functions, from C++ alone.
//
//   read_record MODULE.json        what tvm.ir.save_json(module) has written
//
// Prints one line of JSON for each composite: its name, its record, and the elements of each
// constant that the record refers to. docs/record.md says how a record is laid out.

#include <dlpack/dlpack.h>
#include <tvm/ir/module.h>
#include <tvm/node/serialization.h>
#include <tvm/relay/analysis.h>
#include <tvm/relay/expr.h>
#include <tvm/relay/expr_functor.h>
#include <tvm/relay/function.h>
#include <tvm/runtime/container/array.h>
#include <tvm/runtime/container/map.h>
#include <tvm/runtime/container/string.h>
#include <tvm/runtime/ndarray.h>

#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

using namespace tvm;
using Record = Map<String, ObjectRef>;

constexpr int kVersion = 1;

// ---- what a code generator does with a record --------------------------------------------------

Record Tensor(const Record& record, const std::string& port) {
  auto tensors = Downcast<Record>(record.at("tensors"));
  return Downcast<Record>(tensors.at(port));
}

// The constant that a tensor refers to: the operands to go to, one after the other, from the body.
runtime::NDArray Constant(const relay::Function& composite, const Record& tensor) {
  RelayExpr at = composite->body;
  for (const Integer& index : Downcast<Array<Integer>>(tensor.at("constant"))) {
    if (const auto* call = at.as<relay::CallNode>()) {
      at = call->args[index.IntValue()];
    } else if (const auto* tuple = at.as<relay::TupleNode>()) {
      at = tuple->fields[index.IntValue()];
    } else {
      at = Downcast<relay::TupleGetItem>(at)->tuple;
    }
  }
  return Downcast<relay::Constant>(at)->data;
}

// ---- printing ----------------------------------------------------------------------------------

template <typename Element>
void PrintElements(std::ostream& out, const runtime::NDArray& array, int64_t count) {
  const auto* data = static_cast<const Element*>(array->data);
  for (int64_t index = 0; index < count; ++index) {
    out << (index ? "," : "") << +data[index];
  }
}

void PrintArray(std::ostream& out, const runtime::NDArray& array) {
  int64_t count = 1;
  for (int64_t size : array.Shape()) count *= size;
  DataType dtype = array.DataType();
  out << "{\"dtype\":\"" << dtype << "\",\"shape\":[";
  for (size_t index = 0; index < array.Shape().size(); ++index) {
    out << (index ? "," : "") << array.Shape()[index];
  }
  out << "],\"values\":[";
  if (dtype == DataType::Float(32)) PrintElements<float>(out, array, count);
  if (dtype == DataType::Float(64)) PrintElements<double>(out, array, count);
  if (dtype == DataType::Int(8)) PrintElements<int8_t>(out, array, count);
  if (dtype == DataType::UInt(8)) PrintElements<uint8_t>(out, array, count);
  if (dtype == DataType::Int(16)) PrintElements<int16_t>(out, array, count);
  if (dtype == DataType::Int(32)) PrintElements<int32_t>(out, array, count);
  if (dtype == DataType::Int(64)) PrintElements<int64_t>(out, array, count);
  if (dtype == DataType::Bool()) PrintElements<uint8_t>(out, array, count);
  out << "]}";
}

void Print(std::ostream& out, const ObjectRef& value) {
  if (const auto* number = value.as<IntImmNode>()) {
    if (number->dtype.is_bool()) {
      out << (number->value ? "true" : "false");
    } else {
      out << number->value;
    }
  } else if (const auto* number = value.as<FloatImmNode>()) {
    if (std::isfinite(number->value)) {
      out << number->value;
    } else {
      out << '"' << number->value << '"';
    }
  } else if (const auto* text = value.as<runtime::StringObj>()) {
    out << std::quoted(std::string(text->data, text->size));
  } else if (value.as<runtime::NDArray::ContainerType>()) {
    PrintArray(out, Downcast<runtime::NDArray>(value));
  } else if (value.as<ArrayNode>()) {
    out << "[";
    bool first = true;
    for (const ObjectRef& each : Downcast<Array<ObjectRef>>(value)) {
      out << (first ? "" : ",");
      Print(out, each);
      first = false;
    }
    out << "]";
  } else {
    // A map has no order of its own.
    std::map<std::string, ObjectRef> sorted;
    for (const auto& pair : Downcast<Record>(value)) sorted[pair.first] = pair.second;
    out << "{";
    bool first = true;
    for (const auto& [name, each] : sorted) {
      out << (first ? "" : ",") << std::quoted(name) << ":";
      Print(out, each);
      first = false;
    }
    out << "}";
  }
}

void PrintComposite(std::ostream& out, const relay::Function& composite, const String& name) {
  auto record = composite->GetAttr<Record>("qpat_record").value();
  CHECK_EQ(Downcast<Integer>(record.at("version")).IntValue(), kVersion);
  out << "{\"composite\":" << std::quoted(std::string(name)) << ",\"record\":";
  Print(out, record);
  out << ",\"constants\":{";
  bool first = true;
  for (const auto& pair : Downcast<Record>(record.at("tensors"))) {
    if (pair.second.as<ArrayNode>()) continue;  // many tensors: none of these is embedded
    Record tensor = Tensor(record, pair.first);
    if (tensor.find("constant") == tensor.end()) continue;
    out << (first ? "" : ",") << std::quoted(std::string(pair.first)) << ":";
    PrintArray(out, Constant(composite, tensor));
    first = false;
  }
  out << "}}\n";
}

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: read_record MODULE.json\n";
    return 2;
  }
  std::ifstream file(arguments[1]);
  std::stringstream text;
  text << file.rdbuf();
  auto module = Downcast<IRModule>(LoadJSON(text.str()));
  std::cout << std::setprecision(17) << std::showpoint;
  for (const auto& [variable, function] : module->functions) {
    if (!function.as<relay::FunctionNode>()) continue;
    relay::PostOrderVisit(function, [](const RelayExpr& expr) {
      if (const auto* node = expr.as<relay::FunctionNode>()) {
        auto composite = GetRef<relay::Function>(node);
        auto name = composite->GetAttr<String>("Composite");
        if (name && composite->GetAttr<Record>("qpat_record")) {
          PrintComposite(std::cout, composite, name.value());
        }
      }
    });
  }
  return 0;
}
