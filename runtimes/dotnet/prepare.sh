# Compiles the launcher, once for all actions: prepare.sh DOTNET. It goes out
# on descriptor 3. Newtonsoft.Json, which actions are written for, comes from
# the operator's `modules/dotnet`, since there is no network.
set -eu
dotnet=$1
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/src" "$work/out"
if [ ! -f /modules/dotnet/Newtonsoft.Json.dll ]; then
    echo "modules/dotnet/Newtonsoft.Json.dll is missing"
    exit 1
fi
version=$("$dotnet" --version)
export HOME="$work" DOTNET_CLI_HOME="$work" DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 NUGET_PACKAGES="$work/nuget"
cp "$here/Launcher.cs" "$work/src"
cat >"$work/src/Launcher.csproj" <<EOF
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net${version%%.*}.0</TargetFramework>
    <RollForward>Major</RollForward>
    <UseAppHost>false</UseAppHost>
  </PropertyGroup>
  <ItemGroup>
    <Reference Include="Newtonsoft.Json"><HintPath>/modules/dotnet/Newtonsoft.Json.dll</HintPath></Reference>
  </ItemGroup>
</Project>
EOF
"$dotnet" build "$work/src" --configuration Release --output "$work/out" >"$work/said" 2>&1 || {
    cat "$work/said"
    exit 1
}
tar -C "$work/out" -cf - . >&3
