package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Java contract is a Maven or Gradle project that builds one jar with all it needs and a main class, as Fabric's samples do;
// in a package of type java it is src/. Jars beside no project are taken as built. Fabric's build image does the same.

// javaProjects are the files that say how a project is built.
var javaProjects = []string{"pom.xml", "build.gradle", "build.gradle.kts"}

// programJar is the contract's jar, ready to run.
const programJar = "chaincode.jar"

// isJavaSource reports whether a file of a package's code makes it a Java contract.
func isJavaSource(name string) bool {
	rest, ok := strings.CutPrefix(name, sourceDir)
	return ok && !strings.Contains(rest, "/") && (slices.Contains(javaProjects, rest) || strings.HasSuffix(rest, ".jar"))
}

// javaSource returns the files of a Java contract for its package: its source without what a build left.
func javaSource(dir string) ([]file, error) {
	return readTree(dir, func(name string) bool {
		return name == "target" || name == "build" || name == "bin" || name == "META-INF"
	})
}

// prepareJava builds the code of a java package and puts its jar into app.
func prepareJava(ctx context.Context, code, app string, config BuildConfig) error {
	source := filepath.Join(code, "src")
	env := environment(config.Environ, passedOn, "JAVA_", "MAVEN_", "M2_", "GRADLE_")
	var err error
	switch {
	case exists(filepath.Join(source, "pom.xml")):
		err = runJava(ctx, env, source, "mvn", "-q", "-B", "-DskipTests", "-Dmaven.test.skip=true", "package")
	case exists(filepath.Join(source, "build.gradle")), exists(filepath.Join(source, "build.gradle.kts")):
		err = runJava(ctx, env, source, "gradle", "-q", "--no-daemon", "shadowJar")
	}
	if err != nil {
		return err
	}
	jar, err := programOf(source)
	if err != nil {
		return err
	}
	if err := os.Mkdir(app, 0o700); err != nil {
		return err
	}
	return os.Rename(jar, filepath.Join(app, programJar))
}

func runJava(ctx context.Context, env []string, source, tool string, args ...string) error {
	command, err := find(tool, "a Java contract")
	if err != nil {
		return err
	}
	_, err = runTool(ctx, command, env, source, args...)
	var failed *BuildError
	if errors.As(err, &failed) {
		return &BuildError{Dir: "src", Output: strings.ReplaceAll(failed.Output, source+string(filepath.Separator), "")}
	}
	return err
}

// programOf finds the jar to run: by its name, as Fabric wants it, or the only one.
func programOf(source string) (string, error) {
	var jars []string
	for _, dir := range []string{"target", filepath.Join("build", "libs"), "."} {
		found, err := filepath.Glob(filepath.Join(source, dir, "*.jar"))
		if err != nil {
			return "", err
		}
		for _, jar := range found {
			if filepath.Base(jar) == programJar {
				return jar, nil
			}
			if !strings.HasPrefix(filepath.Base(jar), "original-") && !strings.HasSuffix(jar, "-sources.jar") {
				jars = append(jars, jar)
			}
		}
	}
	if len(jars) != 1 {
		return "", fmt.Errorf("%w: its build makes %d jars: want one, or one called %s, with all it needs in it", ErrInvalidPackage, len(jars), programJar)
	}
	return jars[0], nil
}

// javaCommand says how the contract in app is run. The address is appended.
func javaCommand(app string) (command string, args []string, err error) {
	command, err = find("java", "a Java contract")
	return command, []string{"-XX:+UseSerialGC", "-jar", filepath.Join(app, programJar)}, err
}
